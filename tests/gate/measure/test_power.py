"""Power in turns: each side's watts, whatever drifts meanwhile, and sensors that are silent."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager

import pytest

from edgexfer.gate.machine.power import PowerSource
from edgexfer.gate.measure.power import power_in_turns
from edgexfer.gate.measure.turns import Opener, Side


class Device:
    """A clock that calls move on, and a sensor that sees the side which called last, heat that drifts on top."""

    def __init__(self, *, drift_w_per_s: float = 0.0) -> None:
        self.now_ns = 0
        self.watts = 0.0
        self.calls: list[float] = []
        self._drift = drift_w_per_s

    def clock(self) -> int:
        return self.now_ns

    def read_w(self) -> float:
        return self.watts + self._drift * self.now_ns / 1e9

    def opener(self, watts: float, call_ms: int = 20) -> Opener:
        def call(index: int) -> dict[str, int]:  # noqa: ARG001 - part of the contract
            self.now_ns += call_ms * 1_000_000
            self.watts = watts
            self.calls.append(watts)
            time.sleep(0.0005)  # in which the sensor is read
            return {"total": call_ms * 1_000_000}

        @contextmanager
        def opened() -> Iterator[Side]:
            yield call

        def open_it() -> AbstractContextManager[Side]:
            return opened()

        return open_it


def test_each_side_has_its_own_watts() -> None:
    device, moved = Device(), list[tuple[float, float]]()
    a, b = power_in_turns(
        [device.opener(5.0), device.opener(6.0)],
        PowerSource("a sensor", device.read_w),
        turns=3,
        clock=device.clock,
        progress=lambda done, whole: moved.append((done, whole)),
    )
    assert (a, b) == ((5.0, 5.0, 5.0), (6.0, 6.0, 6.0))
    assert (len(moved), moved[-1]) == (6, (6, 6))
    order = [watts for watts, before in zip(device.calls, [0.0, *device.calls], strict=False) if watts != before]
    assert order == [5.0, 6.0, 5.0, 6.0, 5.0, 6.0]  # both warm up, then A B, B A, A B


def test_drift_weighs_on_both_alike() -> None:
    device = Device(drift_w_per_s=0.05)
    source = PowerSource("a sensor", device.read_w)
    a, b = power_in_turns([device.opener(5.0), device.opener(5.0)], source, turns=4, clock=device.clock)
    assert max(a) - min(a) > 0.5
    assert sum(a) / len(a) == pytest.approx(sum(b) / len(b), abs=0.02)


def test_the_side_goes_on_while_a_slow_sensor_is_read() -> None:
    device, meanwhile = Device(), list[int]()

    def read_w() -> float:
        before = len(device.calls)
        time.sleep(0.05)
        meanwhile.append(len(device.calls) - before)
        return device.watts

    source = PowerSource("a program that takes its time", read_w)
    (watts,) = power_in_turns([device.opener(5.0, call_ms=5)], source, turns=2, clock=device.clock)
    assert watts == (5.0, 5.0)
    assert sum(meanwhile) > 2 * len(meanwhile)


def test_a_sensor_that_breaks_is_no_silence() -> None:
    device = Device()

    def read_w() -> float:
        if device.calls:
            raise OSError("gone")
        return 5.0

    with pytest.raises(OSError, match="gone"):
        power_in_turns([device.opener(5.0)], PowerSource("a sensor", read_w), turns=1, clock=device.clock)


def test_a_silent_sensor_gives_no_turns() -> None:
    device = Device()
    (alone,) = power_in_turns([device.opener(5.0)], PowerSource("a sensor", lambda: None), turns=2, clock=device.clock)
    assert alone == ()
