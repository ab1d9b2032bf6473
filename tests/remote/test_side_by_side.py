"""Several devices at once: each gets its turn, one that fails stops no other, Ctrl-C stops them all."""

from __future__ import annotations

import functools
import os
import re
import signal
import threading
import time
from pathlib import Path

import pytest

from edgexfer.core.errors import RemoteError, SettingsError
from edgexfer.remote.device import Device
from edgexfer.remote.side_by_side import run_side_by_side
from tests.remote.sshd import Server


def test_one_that_fails_does_not_stop_the_others(server: Server, bundle_folder: Path) -> None:
    connect = functools.partial(_connect, server)
    together = threading.Barrier(2, timeout=30)

    def work(device: Device) -> str:
        together.wait()  # both are connected at the same time
        return device.send_bundle(bundle_folder)

    one, gone, two = run_side_by_side(["one", "gone", "two"], work, connect)
    assert (one.host, gone.host, two.host) == ("one", "gone", "two")
    assert one.result == two.result is not None
    assert one.error is two.error is None
    assert gone.result is None
    assert isinstance(gone.error, RemoteError)
    assert gone.error.message.startswith("gone cannot start /no/python: ")


def test_a_bug_is_raised_and_breaks_the_others_off(server: Server, bundle_folder: Path) -> None:
    def work(device: Device) -> None:
        device.install()
        bundle = device.send_bundle(bundle_folder)
        if device.host == "two":
            raise ZeroDivisionError
        device.run(["bench", bundle, "--seconds", "60"])

    begun = time.monotonic()
    with pytest.raises(ZeroDivisionError):
        run_side_by_side(["one", "two"], work, functools.partial(_connect, server))
    assert time.monotonic() - begun < 30


def test_ctrl_c_breaks_all_off(server: Server, bundle_folder: Path) -> None:
    together = threading.Barrier(2, timeout=30)
    errors: list[RemoteError] = []

    def work(device: Device) -> None:
        bundle = device.send_bundle(bundle_folder)
        device.install()
        if together.wait() == 0:
            os.kill(os.getpid(), signal.SIGINT)
        try:
            device.run(["bench", bundle, "--seconds", "60"])
        except RemoteError as error:
            errors.append(error)
            raise

    with pytest.raises(KeyboardInterrupt):
        run_side_by_side(["one", "two"], work, functools.partial(_connect, server))
    assert sorted(error.message for error in errors) == [
        "the connection to one was broken off",
        "the connection to two was broken off",
    ]


def test_two_runs_on_one_device_take_turns(server: Server, bundle_folder: Path) -> None:
    pytest.importorskip("onnxruntime", reason="onnxruntime is not installed (pip install 'edgexfer[cpu]')")
    news: list[str] = []

    def work(device: Device) -> tuple[float, float]:
        device.install(extras=("cpu",))
        bundle = device.send_bundle(bundle_folder)
        done = device.run(["bench", bundle, "--seconds", "2"])
        ended = time.monotonic()
        return ended - done.seconds, ended

    outcomes = run_side_by_side(["one", "two"], work, functools.partial(_connect, server, on_news=news.append))
    results = sorted(outcome.result for outcome in outcomes if outcome.result is not None)
    assert len(results) == 2
    assert results[0][1] <= results[1][0] + 0.2
    (said,) = [line.partition(": ")[2] for line in news if "another run" in line]
    assert re.fullmatch(r"another run is at work there \(process \d+, since [-\d]+ [\d:]+\); waiting for its end", said)


def test_a_host_given_twice_is_refused() -> None:
    with pytest.raises(SettingsError, match="one is given twice"):
        run_side_by_side(["one", "two", "one"], lambda device: device.host)


def _connect(server: Server, host: str, **options: object) -> Device:
    return server.device(host, **({"python": "/no/python"} if host == "gone" else {}), **options)
