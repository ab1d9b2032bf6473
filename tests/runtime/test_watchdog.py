"""timeout_s: an engine that hangs keeps nobody waiting, neither a prediction nor the end of the process."""

from __future__ import annotations

import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pytest

from edgexfer import load
from edgexfer.core.errors import BackendError, EngineTimeoutError, SettingsError
from tests.bundles import make_bundle
from tests.runtime.sessions import engines

RED = np.full((20, 30, 3), (220, 30, 30), np.uint8)
SHORT_S = 0.05


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return make_bundle(tmp_path / "b.edgx", backend="fake")


def wait_until(answers: object) -> None:
    assert callable(answers)
    for _ in range(1000):
        try:
            answers()
        except EngineTimeoutError:
            time.sleep(0.01)
        else:
            return
    pytest.fail("the engine returned, and nobody noticed")


def test_answers_are_the_same(folder: Path) -> None:
    with load(folder) as plain, load(folder, timeout_s=60) as timed:
        assert np.array_equal(plain(RED).probabilities, timed(RED).probabilities)
        assert [p.label for p in timed.batch([RED] * 5, batch_size=2)] == ["a"] * 5
        assert [p.label for p in timed.stream([RED] * 5)] == ["a"] * 5


def test_a_hang_is_told_in_time_and_so_is_every_later_call(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    opened = engines(monkeypatch)
    with load(folder, timeout_s=SHORT_S) as classifier:
        opened[0].gate.clear()
        with pytest.raises(EngineTimeoutError, match=r"did not answer within 0\.05 s") as caught:
            classifier(RED)
        assert isinstance(caught.value, TimeoutError)
        calls = opened[0].calls
        for use in (
            classifier,
            lambda image: classifier.batch([image]),
            lambda image: next(classifier.stream([image])),
        ):
            with pytest.raises(EngineTimeoutError, match=r"hangs: it has not answered for \d"):
                use(RED)
        assert opened[0].calls == calls  # not asked again while it hangs
        opened[0].gate.set()
        wait_until(lambda: classifier(RED))
        assert classifier(RED).label == "a"


def test_close_waits_for_no_hanging_engine_and_frees_it_when_it_returns(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened = engines(monkeypatch)
    classifier = load(folder, timeout_s=SHORT_S)
    opened[0].gate.clear()
    with pytest.raises(EngineTimeoutError):
        classifier(RED)
    classifier.close()
    assert opened[0].closed == 0
    with pytest.raises(BackendError, match="closed"):
        classifier(RED)
    opened[0].gate.set()
    for _ in range(1000):
        if opened[0].closed:
            break
        time.sleep(0.01)
    assert opened[0].closed == 1


def test_swap_mends_a_hang(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    opened = engines(monkeypatch)
    with load(folder, timeout_s=SHORT_S) as classifier:
        opened[0].gate.clear()
        with pytest.raises(EngineTimeoutError):
            classifier(RED)
        classifier.swap(folder)
        wait_until(lambda: classifier(RED))
        opened[0].gate.set()


def test_errors_of_the_engine_come_through(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    opened = engines(monkeypatch)
    with load(folder, timeout_s=60) as classifier:
        opened[0].error = BackendError("out of memory")
        for _ in range(3):
            with pytest.raises(BackendError, match="out of memory"):
                classifier(RED)
        opened[0].error = None
        assert classifier(RED).label == "a"


def test_threads_end_with_the_classifier(folder: Path) -> None:
    before = threading.active_count()
    with load(folder, timeout_s=60) as classifier:
        threads = [threading.Thread(target=lambda: classifier.batch([RED] * 50, batch_size=1)) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert threading.active_count() <= before + 8  # no more than ever called at once
    for _ in range(1000):
        if threading.active_count() == before:
            break
        time.sleep(0.01)
    assert threading.active_count() == before


@pytest.mark.parametrize("seconds", [0, -1, float("nan"), float("inf")])
def test_what_is_no_time(folder: Path, seconds: float) -> None:
    with pytest.raises(SettingsError, match="timeout_s is"):
        load(folder, timeout_s=seconds)


def test_the_process_can_end(folder: Path) -> None:
    code = (
        "import sys, threading\nimport numpy as np\n"
        "from edgexfer import load\nfrom edgexfer.backends.fake import FakeSession\n"
        "classifier = load(sys.argv[1], timeout_s=0.05)\n"
        "FakeSession.run = lambda *_: threading.Event().wait()\n"
        "try:\n    classifier(np.zeros((8, 8, 3), np.uint8))\n"
        "except TimeoutError as error:\n    print(type(error).__name__)\n"
    )
    command = [sys.executable, "-W", "error", "-c", code, str(folder)]
    done = subprocess.run(command, check=False, capture_output=True, text=True, timeout=120)
    assert (done.returncode, done.stdout, done.stderr) == (0, "EngineTimeoutError\n", "")
