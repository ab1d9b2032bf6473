"""Long runs, in short: memory and descriptors stay, threads agree, one failure is no other's.

benchmarks/long_run.py does the same a million times; its table is in docs/reliability.md.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

from edgexfer import Classifier, load
from edgexfer.backends import find_backend
from edgexfer.core.errors import BackendError, EdgexferError, ImageError
from tests.runtime.sessions import engines

THREADS = 8
STATM = Path("/proc/self/statm")
IMAGES = np.random.default_rng(0).integers(0, 256, (32, 8, 8, 3), dtype=np.uint8)


@pytest.fixture(params=["ort", "fake"])
def classifier(request: pytest.FixtureRequest, bundle_folder: Path) -> Iterator[Classifier]:
    if (reason := find_backend(request.param).missing()) is not None:
        pytest.skip(reason)
    with load(bundle_folder, backend=request.param, threads=1) as opened:
        yield opened


def at_once(work: Callable[[int], None]) -> None:
    threads = [threading.Thread(target=work, args=(number,)) for number in range(THREADS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def resident_bytes() -> int:
    return int(STATM.read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def descriptors() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


@pytest.mark.skipif(not STATM.exists(), reason="/proc is Linux's")
def test_memory_and_descriptors_stay_and_threads_agree(classifier: Classifier) -> None:
    expected = [classifier(image).probabilities.tobytes() for image in IMAGES]
    wrong: list[int] = []

    def work(number: int) -> None:
        turns = range(number, number + 250)
        wrong.extend(t for t in turns if classifier(IMAGES[t % 32]).probabilities.tobytes() != expected[t % 32])

    at_once(work)
    before, opened = resident_bytes(), descriptors()
    for _ in range(2):
        at_once(work)
    assert wrong == []
    assert descriptors() == opened
    assert resident_bytes() - before < 5_000_000


def test_opening_and_closing_leaves_nothing(bundle_folder: Path) -> None:
    if not STATM.exists():
        pytest.skip("/proc is Linux's")
    load(bundle_folder, backend="fake").close()
    before, threads = descriptors(), threading.active_count()
    for _ in range(20):
        with load(bundle_folder, backend="fake", timeout_s=60) as opened:
            opened(IMAGES[0])
    assert descriptors() == before
    for thread in [each for each in threading.enumerate() if each.name == "edgexfer-engine"]:
        thread.join(60)
    assert threading.active_count() == threads


def test_close_while_others_predict(classifier: Classifier) -> None:
    told: list[EdgexferError] = []
    begun = threading.Barrier(THREADS + 1)

    def work(number: int) -> None:
        begun.wait()
        try:
            while True:
                classifier.batch(IMAGES[:4]) if number % 2 else classifier(IMAGES[0])
        except EdgexferError as error:
            told.append(error)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(THREADS)]
    for thread in threads:
        thread.start()
    begun.wait()
    classifier.close()
    for thread in threads:
        thread.join()
    assert len(told) == THREADS
    assert {type(error) for error in told} == {BackendError}
    assert all("is closed" in error.message and "load the bundle again" in error.hint for error in told)


def test_the_engine_is_freed_after_the_last_that_is_in_it(bundle_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    opened = engines(monkeypatch)
    classifier = load(bundle_folder, backend="fake")
    engine = opened[0]
    engine.inside.clear()
    engine.gate.clear()
    answers: list[str] = []
    thread = threading.Thread(target=lambda: answers.append(classifier(IMAGES[0]).label))
    thread.start()
    engine.inside.wait()
    classifier.close()
    classifier.close()
    assert engine.closed == 0
    engine.gate.set()
    thread.join()
    assert (len(answers), engine.closed) == (1, 1)


def test_one_failure_is_no_others(classifier: Classifier, tmp_path: Path) -> None:
    expected = [prediction.label for prediction in classifier.batch(IMAGES)]
    for bad in (tmp_path / "absent.jpg", b"", np.zeros((0, 0, 3), np.uint8), np.zeros((8, 8, 3))):
        for place in (0, 5, 9):
            mixed = [*IMAGES[:place], bad, *IMAGES[place:]]
            with pytest.raises(ImageError):
                classifier.batch(mixed, batch_size=4)
            assert [prediction.label for prediction in classifier.batch(IMAGES, batch_size=4)] == expected


def test_an_engine_that_failed_once_is_asked_again(bundle_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    opened = engines(monkeypatch)
    with load(bundle_folder, backend="fake") as classifier:
        expected = [prediction.label for prediction in classifier.batch(IMAGES)]
        opened[0].error = BackendError("out of memory")
        with pytest.raises(BackendError, match="out of memory"):
            classifier.batch(IMAGES)
        opened[0].error = None
        assert [prediction.label for prediction in classifier.batch(IMAGES)] == expected
