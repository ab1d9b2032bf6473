from __future__ import annotations

import random
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from edgexfer.gate.measure import turns as module
from edgexfer.gate.measure.turns import BURST, ROUND_SECONDS, Side, Turns, take_block


class Machine:
    """Two sides on a clock of their own; remembers who was called with which image."""

    def __init__(self, *durations_ns: int) -> None:
        self.durations_ns, self.now_ns = durations_ns, 0
        self.calls: list[tuple[int, int]] = []
        self.opened: list[int] = []

    def clock(self) -> int:
        return self.now_ns

    def side(self, number: int) -> Side:
        def call(index: int) -> dict[str, int]:
            self.calls.append((number, index))
            self.now_ns += self.durations_ns[number]
            return {"total": self.durations_ns[number]}

        return call

    @contextmanager
    def opener(self, number: int) -> Iterator[Side]:
        self.opened.append(number)
        yield self.side(number)


def test_a_block_goes_there_and_back_with_the_same_images_for_both() -> None:
    machine = Machine(1, 1)
    samples = take_block([machine.side(0), machine.side(1)], 7, draw=random.Random(0))
    turns = [number for number, _ in machine.calls]
    order = [turns[i] for i in range(0, len(turns), len(turns) // 4)]
    assert order in ([0, 1, 1, 0], [1, 0, 0, 1])
    assert [image for number, image in machine.calls if number == 0] == [
        image for number, image in machine.calls if number == 1
    ]
    assert all(len(side["total"]) == 2 * BURST for side in samples)


def test_who_begins_is_drawn() -> None:
    machine, begun = Machine(1, 1), set()
    draw = random.Random(3)
    for _ in range(20):
        machine.calls.clear()
        take_block([machine.side(0), machine.side(1)], draw=draw)
        begun.add(machine.calls[0][0])
    assert begun == {0, 1}


def test_every_round_opens_both_anew_and_measures_for_its_time() -> None:
    machine = Machine(1_000_000, 1_100_000)
    turns = Turns([lambda: machine.opener(0), lambda: machine.opener(1)], clock=machine.clock)
    for _ in range(6):
        turns.more()
    assert turns.rounds == 6
    assert sorted(machine.opened) == [0] * 6 + [1] * 6
    assert len({tuple(machine.opened[i : i + 2]) for i in range(0, 12, 2)}) == 2
    blocks, calls = turns.sides[0]["total"].shape
    assert calls == 2 * BURST
    # A block is 2 x (5 + 2) calls of each side.
    assert blocks == pytest.approx(6 * ROUND_SECONDS / (14 * 2.1e-3), abs=6)
    assert turns.steady
    assert turns.seconds == pytest.approx(6 * ROUND_SECONDS, rel=0.05)
    assert (turns.sides[1]["total"] == 1_100_000).all()
    assert min(turns.warmup) >= 6 * 10


def test_slow_networks_get_shorter_bursts() -> None:
    machine = Machine(80_000_000, 80_000_000)
    turns = Turns([lambda: machine.opener(0), lambda: machine.opener(1)], clock=machine.clock)
    turns.more(0.1)
    assert turns.sides[0]["total"].shape[1] < 2 * BURST


def test_what_others_took_is_counted_while_it_measures_and_not_between() -> None:
    waited, ran = iter((5, 12, 1000, 1003)), iter((None, None, 3, 10))
    machine = Machine(1_000_000)
    turns = Turns([lambda: machine.opener(0)], clock=machine.clock)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "contention", lambda _: {"waited_ns": next(waited), "ran_ns": next(ran)})
        turns.more(0.01)
        turns.more(0.01)
    assert turns.contention == {"waited_ns": 10, "ran_ns": 7}
