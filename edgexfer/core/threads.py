"""The same work on many items, in threads: for work that waits for files or for Pillow, which free the interpreter."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Generator, Iterable, Sequence
from contextlib import closing
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from concurrent.futures import Future

Item = TypeVar("Item")
Result = TypeVar("Result")
Progress = Callable[[int, int], None]
_AHEAD = 1024  # items that are handed out before the oldest of them is waited for


def in_threads(
    work: Callable[[Item], Result],
    items: Sequence[Item],
    *,
    workers: int | None = None,
    progress: Progress | None = None,
) -> list[Result]:
    """Calls `work` on every item and returns the results in the order of the items.

    Items are handed out as they are worked off: what waits costs memory, and there may be hundreds of thousands.

    The first exception, Ctrl-C included, cancels what has not begun and is raised.

    Args:
        work: called in several threads at once.
        items: what it is called on.
        workers: threads, 1 or more; one for each CPU of this process by default.
        progress: called with (done, all) in the caller's thread, after each item.
    """
    results: list[Result] = []
    with closing(ahead_in_threads(work, items, ahead=_AHEAD, workers=workers)) as found:
        for result in found:
            results.append(result)
            if progress is not None:
                progress(len(results), len(items))
    return results


def ahead_in_threads(
    work: Callable[[Item], Result], items: Iterable[Item], *, ahead: int, workers: int | None = None
) -> Generator[Result, None, None]:
    """Calls `work` on items and yields the results in their order, while threads are up to `ahead` items further on.

    Items are taken in the caller's thread, none before the first result is asked for. The first exception cancels what
    has not begun and is raised; so does closing the generator, after which no thread is left.

    Args:
        work: called in several threads at once.
        items: what it is called on; may be endless.
        ahead: items that are handed out beyond the one whose result is yielded, 1 or more.
        workers: threads, 1 or more; one for each CPU of this process by default.
    """
    from concurrent.futures import ThreadPoolExecutor  # noqa: PLC0415 - every backend imports this module

    waiting: deque[Future[Result]] = deque()
    with ThreadPoolExecutor(workers or cpu_count(), thread_name_prefix="edgexfer") as pool:
        try:
            for item in items:
                waiting.append(pool.submit(work, item))
                if len(waiting) > ahead:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        finally:
            pool.shutdown(wait=True, cancel_futures=True)


def cpu_count() -> int:
    """Returns how many CPUs this process may use, 1 or more."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
