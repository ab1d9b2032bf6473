"""Results in order, progress in the caller's thread, and an exception that stops what has not begun."""

from __future__ import annotations

import threading
import time

import pytest

from edgexfer.core.threads import cpu_count, in_threads


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
