from __future__ import annotations

import os
import threading
from pathlib import Path

import pytest

from edgexfer.gate.measure.affinity import held_cpus, idlest_cpus

pytestmark = pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="this system holds no thread on a CPU")


def test_one_thread_gets_one_cpu_and_gives_it_back() -> None:
    before = os.sched_getaffinity(0)
    with held_cpus(1) as chosen:
        assert os.sched_getaffinity(0) == set(chosen)
        assert len(chosen) == 1
        seen: list[set[int]] = []
        thread = threading.Thread(target=lambda: seen.append(os.sched_getaffinity(0)))
        thread.start()
        thread.join()
        assert seen == [set(chosen)]  # what an engine starts meanwhile is held as well
    assert os.sched_getaffinity(0) == before


def test_it_is_given_back_after_an_error_too() -> None:
    before = os.sched_getaffinity(0)
    with pytest.raises(KeyboardInterrupt), held_cpus(1):
        raise KeyboardInterrupt
    assert os.sched_getaffinity(0) == before


@pytest.mark.parametrize("threads", [None, 10_000])
def test_all_cpus_are_held_where_as_many_are_wanted(threads: int | None) -> None:
    with held_cpus(threads) as chosen:
        assert set(chosen) == os.sched_getaffinity(0)


def test_the_first_cpu_comes_last_among_equals(tmp_path: Path) -> None:
    (tmp_path / "proc").mkdir()
    (tmp_path / "proc/stat").write_text("cpu 1 1 1 1\ncpu0 10 0 5 100 2\ncpu1 10 0 5 100 2\ncpu2 10 0 5 100 2\n")
    assert idlest_cpus({0, 1, 2}, 1, tmp_path) == [2]
    assert idlest_cpus({0, 1, 2}, 2, tmp_path) == [1, 2]
    assert idlest_cpus({0, 1}, 1, tmp_path / "nothing") == [1]
