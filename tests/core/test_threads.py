"""Results in order, progress in the caller's thread, and an exception that stops what has not begun."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from itertools import count

import pytest

from edgexfer.core.threads import ahead_in_threads, cpu_count, in_threads


def test_results_are_in_the_order_of_the_items() -> None:
    def slow_first(item: int) -> int:
        time.sleep(0.02 if item == 0 else 0)
        return item * item

    seen: list[tuple[int, int, bool]] = []
    main = threading.current_thread()
    squares = in_threads(
        slow_first,
        range(20),
        workers=4,
        progress=lambda done, total: seen.append((done, total, threading.current_thread() is main)),
    )
    assert squares == [item * item for item in range(20)]
    assert seen == [(done, 20, True) for done in range(1, 21)]
    assert in_threads(slow_first, []) == []
    assert cpu_count() >= 1


@pytest.mark.parametrize("stop", [ValueError, KeyboardInterrupt])
def test_an_exception_cancels_what_has_not_begun(stop: type[BaseException]) -> None:
    begun: list[int] = []

    def work(item: int) -> None:
        begun.append(item)
        time.sleep(0.005)

    def progress(done: int, _total: int) -> None:
        if done == 3:
            raise stop

    with pytest.raises(stop):
        in_threads(work, range(1000), workers=2, progress=progress)
    assert len(begun) < 100


def test_results_come_while_others_are_worked_on() -> None:
    taken: list[int] = []

    def endless() -> Iterator[int]:
        for item in count():
            taken.append(item)
            yield item

    found = ahead_in_threads(lambda item: -item, endless(), ahead=3, workers=2)
    assert taken == []
    for done in range(1, 50):
        assert next(found) == 1 - done
        assert len(taken) == done + 3
    before = threading.active_count()
    found.close()
    assert threading.active_count() == before - 2
    assert list(ahead_in_threads(str, range(3), ahead=8)) == ["0", "1", "2"]


@pytest.mark.parametrize("broken", ["items", "work"])
def test_what_breaks_leaves_no_thread(broken: str) -> None:
    def items() -> Iterator[int]:
        yield 1
        yield 2
        if broken == "items":
            raise OSError("cable pulled")
        yield 0

    before = threading.active_count()
    with pytest.raises((OSError, ZeroDivisionError)):
        list(ahead_in_threads(lambda item: 2 // item, items(), ahead=2))
    assert threading.active_count() == before
