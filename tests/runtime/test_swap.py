"""swap: another bundle in the place of the one that serves, without a prediction lost."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edgexfer import load
from edgexfer.core.errors import ArtifactError, BackendError, EdgexferError
from edgexfer.core.manifest import write_manifest
from tests.bundles import hue_probabilities, make_bundle
from tests.runtime.sessions import engines

RED = np.full((20, 30, 3), (220, 30, 30), np.uint8)


@pytest.fixture
def first(tmp_path: Path) -> Path:
    return make_bundle(tmp_path / "first.edgx", backend="fake")


def wrong_bundle(folder: Path) -> Path:
    """A bundle whose references are not what its network answers."""
    import json

    make_bundle(folder, backend="fake")
    pixels = np.full((16, 8, 8, 3), (220, 30, 30), np.uint8)
    np.savez(folder / "reference.npz", pixels=pixels, probabilities=hue_probabilities(pixels, 3)[:, ::-1])
    content = json.loads((folder / "manifest.json").read_bytes())
    kept = {key: value for key, value in content.items() if key not in ("kind", "format_version", "files", "digest")}
    write_manifest(folder, "bundle", kept)
    return folder


def test_later_predictions_are_the_new_ones(first: Path, tmp_path: Path) -> None:
    second = make_bundle(tmp_path / "second.edgx", backend="fake", size=16, known_from=1.0, seed=1)
    with load(first) as classifier:
        assert not classifier(RED).unknown
        before = classifier.swap(second)
        assert before.folder == first
        assert classifier(RED).unknown
        assert (classifier.bundle.folder, classifier.preprocess.height, classifier.known_from) == (second, 16, 1.0)
        assert classifier.swap(before).folder == second
        assert not classifier(RED).unknown


def test_what_has_begun_ends_with_the_old_one(first: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    opened = engines(monkeypatch)
    second = make_bundle(tmp_path / "second.edgx", backend="fake", known_from=1.0)
    answers: list[Any] = []
    with load(first) as classifier:
        old = opened[0]
        old.inside.clear()
        old.gate.clear()
        late = threading.Thread(target=lambda: answers.append(classifier(RED)))
        late.start()
        old.inside.wait()
        classifier.swap(second)
        assert classifier(RED).unknown
        assert old.closed == 0  # a thread is in it still
        old.gate.set()
        late.join()
        assert [prediction.unknown for prediction in answers] == [False]
        assert old.closed == 1
    assert [engine.closed for engine in opened] == [1, 1]


@pytest.mark.parametrize("broken", ["absent", "damaged", "answers otherwise", "other labels", "refused by its engine"])
def test_a_swap_that_fails_changes_nothing(
    first: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, broken: str
) -> None:
    opened = engines(monkeypatch)
    second = tmp_path / "second.edgx"
    if broken == "answers otherwise":
        wrong_bundle(second)
    elif broken != "absent":
        make_bundle(second, backend="fake", labels=("a", "c", "b") if broken == "other labels" else ("a", "b", "c"))
    if broken == "damaged":
        (second / "model.onnx").write_bytes(b"")
    with load(first) as classifier:
        expected = classifier(RED).probabilities
        if broken == "refused by its engine":
            monkeypatch.setattr("edgexfer.backends.fake.missing", lambda: "no such engine")
        with pytest.raises(EdgexferError):
            classifier.swap(second)
        assert classifier.bundle.folder == first
        assert np.array_equal(classifier(RED).probabilities, expected)
        assert [engine.closed for engine in opened] == [0, *[1] * (len(opened) - 1)]


def test_other_classes_are_named_and_may_be_meant(first: Path, tmp_path: Path) -> None:
    second = make_bundle(tmp_path / "second.edgx", backend="fake", labels=("a", "b", "d"))
    with load(first) as classifier:
        with pytest.raises(ArtifactError, match=r"has other classes than .*: lacks 'c'; adds 'd'") as caught:
            classifier.swap(second)
        assert "other_labels=True" in caught.value.hint
        classifier.swap(second, other_labels=True)
        assert classifier.labels == classifier(RED).labels == ("a", "b", "d")
        with pytest.raises(ArtifactError, match="the same in another order"):
            classifier.swap(make_bundle(tmp_path / "third.edgx", backend="fake", labels=("b", "a", "d")))


def test_references_that_do_not_hold_are_told(first: Path, tmp_path: Path) -> None:
    with load(first) as classifier, pytest.raises(BackendError, match="16 of 16 reference images change class"):
        classifier.swap(wrong_bundle(tmp_path / "second.edgx"))


def test_what_load_was_told_holds_for_the_next(tmp_path: Path) -> None:
    first, second = (make_bundle(tmp_path / name, backend="elsewhere", dialect="tensorrt") for name in ("1", "2"))
    with load(first, backend="fake") as classifier:
        classifier.swap(second)
        assert (classifier.backend, classifier.bundle.folder) == ("fake", second)


def test_a_stream_goes_on_with_the_new_one(first: Path, tmp_path: Path) -> None:
    second = make_bundle(tmp_path / "second.edgx", backend="fake", size=16, known_from=1.0)
    with load(first) as classifier:
        stream = classifier.stream([RED] * 4)
        found = [next(stream)]
        classifier.swap(second)
        found += stream
        assert [prediction.unknown for prediction in found] == [False, True, True, True]


def test_after_close(first: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    opened = engines(monkeypatch)
    classifier = load(first)
    classifier.close()
    with pytest.raises(BackendError, match="closed"):
        classifier.swap(first)
    assert [engine.closed for engine in opened] == [1, 1]


def test_swaps_while_eight_threads_predict(first: Path, tmp_path: Path) -> None:
    second = make_bundle(tmp_path / "second.edgx", backend="fake", size=16, seed=1)
    colours = [np.full((12, 12, 3), colour, np.uint8) for colour in ((220, 30, 30), (30, 220, 30), (30, 30, 220))]
    wrong: list[str] = []
    ended = threading.Event()

    def work(offset: int) -> None:
        turn = offset
        while not ended.is_set():
            turn += 1
            found = [p.label for p in (classifier(colours[turn % 3]), *classifier.batch(colours[:2]))]
            if found != ["abc"[turn % 3], "a", "b"]:
                wrong.append(str(found))

    with load(first) as classifier:
        threads = [threading.Thread(target=work, args=(i,)) for i in range(8)]
        for thread in threads:
            thread.start()
        for turn in range(30):
            classifier.swap(first if turn % 2 else second)
        ended.set()
        for thread in threads:
            thread.join()
    assert wrong == []
