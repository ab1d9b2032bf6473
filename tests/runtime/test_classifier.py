"""load and Classifier: what an application on the device calls."""

from __future__ import annotations

import io
import threading
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from PIL import Image

from edgexfer import Classifier, Prediction, load
from edgexfer.backends import find_backend
from edgexfer.core.bundle import open_bundle
from edgexfer.core.errors import ArtifactError, BackendError, ImageError, MissingPartError, SettingsError
from tests.bundles import hue_probabilities, make_bundle

COLOURS = {"a": (220, 30, 30), "b": (30, 220, 30), "c": (30, 30, 220)}


def plain(label: str, size: tuple[int, int] = (20, 30)) -> np.ndarray[Any, Any]:
    return np.full((*size, 3), COLOURS[label], np.uint8)


@pytest.fixture(params=["ort", "fake"])
def classifier(request: pytest.FixtureRequest, bundle_folder: Path) -> Iterator[Classifier]:
    reason = find_backend(request.param).missing()
    if reason is not None:
        pytest.skip(reason)
    with load(bundle_folder, backend=request.param) as opened:
        yield opened


@pytest.mark.parametrize("label", COLOURS)
def test_every_kind_of_source(classifier: Classifier, label: str, tmp_path: Path) -> None:
    image = Image.fromarray(plain(label))
    path = tmp_path / "photo.png"
    image.save(path)
    expected = hue_probabilities(plain(label, (8, 8))[np.newaxis], 3)[0]
    for source in (path, str(path), path.read_bytes(), image, plain(label), plain(label, (8, 8))):
        prediction = classifier(source)
        assert isinstance(prediction, Prediction)
        assert prediction.label == label
        assert np.abs(prediction.probabilities - expected).max() < 1e-5
        assert prediction.labels == ("a", "b", "c")
    assert prediction.top(3)[0] == (label, prediction.score)


def test_what_a_classifier_knows(classifier: Classifier, bundle_folder: Path) -> None:
    assert classifier.labels == ("a", "b", "c")
    assert (classifier.preprocess.height, classifier.preprocess.width) == (8, 8)
    assert classifier.bundle.digest == open_bundle(bundle_folder).digest
    assert repr(classifier) == f"Classifier({str(bundle_folder)!r}, 3 labels)"


@pytest.mark.parametrize("backend", ["ort", "fake"])
def test_what_is_unlike_the_training_is_unknown(tmp_path: Path, backend: str) -> None:
    if (reason := find_backend(backend).missing()) is not None:
        pytest.skip(reason)
    grey = np.full((20, 30, 3), 128, np.uint8)
    with load(make_bundle(tmp_path / "b.edgx", known_from=0.8), backend=backend) as opened:
        assert opened.known_from == 0.8
        found = [opened(grey), opened(plain("a")), *opened.batch([grey, plain("b")]), *opened.stream([grey])]
        assert [prediction.unknown for prediction in found] == [True, False, True, False, True]
        assert repr(found[0]).endswith(", unknown)")
        assert "unknown" not in repr(found[1])
    with load(make_bundle(tmp_path / "old.edgx"), backend=backend) as opened:
        assert opened.known_from is None
        assert not opened(grey).unknown


def test_open_bundle_may_be_given(bundle_folder: Path) -> None:
    with load(open_bundle(bundle_folder), backend="fake") as classifier:
        assert classifier(plain("b")).label == "b"


@pytest.mark.parametrize("batch_size", [1, 4, 32])
def test_batch_is_the_same_as_one_by_one(classifier: Classifier, batch_size: int) -> None:
    labels = list("abcabccba")
    images = [plain(label, (8 + i, 30)) for i, label in enumerate(labels)]
    found = classifier.batch(images, batch_size=batch_size)
    assert [p.label for p in found] == labels
    for prediction, image in zip(found, images, strict=True):
        assert np.abs(prediction.probabilities - classifier(image).probabilities).max() < 1e-6


def test_batch_of_nothing_and_of_a_generator(classifier: Classifier) -> None:
    assert classifier.batch([]) == []
    assert [p.label for p in classifier.batch(plain(label) for label in "cab")] == list("cab")
    with pytest.raises(SettingsError, match="batch_size is 0, expected 1 or more"):
        classifier.batch([plain("a")], batch_size=0)


@pytest.mark.parametrize("batch_size", [1, 2, 32])
def test_batch_outlives_images_that_cannot_be_decoded(classifier: Classifier, batch_size: int) -> None:
    images = [b"", plain("a"), b"notes", plain("b"), plain("c"), b"P6 9 9 255\n"]
    found = classifier.batch(images, batch_size=batch_size, errors="yield")
    said = [each.message if isinstance(each, ImageError) else each.label for each in found]
    assert [said[place] for place in (1, 3, 4)] == ["a", "b", "c"]
    for place, word in ((0, "is empty"), (2, "it holds text"), (5, "truncated")):
        assert word in said[place]
    assert classifier(plain("b")).label == "b"
    with pytest.raises(ImageError):
        classifier.batch(images, batch_size=batch_size)


def test_stream_keeps_the_order(classifier: Classifier) -> None:
    labels = list("abccbaabcb")
    assert [p.label for p in classifier.stream(plain(label) for label in labels)] == labels
    assert list(classifier.stream([])) == []


def test_stream_is_lazy_and_reads_one_ahead(classifier: Classifier) -> None:
    fetched = []

    def camera() -> Iterator[np.ndarray[Any, Any]]:
        while True:
            fetched.append(len(fetched))
            yield plain("a")

    stream = classifier.stream(camera())
    assert fetched == []
    for turn in range(1, 6):
        next(stream)
        assert len(fetched) <= turn + 1
    before = threading.active_count()
    stream.close()  # type: ignore[attr-defined]
    assert threading.active_count() == before - 1
    assert len(fetched) <= 6


def test_exceptions_of_a_stream_come_in_their_turn(classifier: Classifier, tmp_path: Path) -> None:
    stream = classifier.stream([plain("a"), plain("b"), tmp_path / "absent.jpg", plain("c")])
    assert [next(stream).label, next(stream).label] == ["a", "b"]
    with pytest.raises(ImageError, match=r"absent\.jpg does not exist"):
        next(stream)
    assert list(stream) == []

    def broken_camera() -> Iterator[np.ndarray[Any, Any]]:
        yield plain("c")
        raise OSError("cable pulled")

    stream = classifier.stream(broken_camera())
    assert next(stream).label == "c"
    with pytest.raises(OSError, match="cable pulled"):
        next(stream)


def test_a_stream_can_go_on_after_an_image_that_is_none(classifier: Classifier, tmp_path: Path) -> None:
    absent, cut = tmp_path / "absent.jpg", tmp_path / "cut.jpg"
    cut.write_bytes(b"\xff\xd8\xff\xe0")
    found = list(classifier.stream([absent, plain("a"), cut, cut, plain("b"), absent], errors="yield"))
    assert [type(one) is ImageError for one in found] == [True, False, True, True, False, True]
    assert [one.label for one in found if isinstance(one, Prediction)] == ["a", "b"]
    assert isinstance(found[2], ImageError)
    assert "cut.jpg" in found[2].message

    def broken_camera() -> Iterator[Any]:
        yield absent
        raise ImageError("no camera")  # of the camera, not of a frame

    stream = classifier.stream(broken_camera(), errors="yield")
    assert isinstance(next(stream), ImageError)
    with pytest.raises(ImageError, match="no camera"):
        next(stream)


def test_a_batch_that_breaks_leaves_no_thread(classifier: Classifier, tmp_path: Path) -> None:
    before = threading.active_count()
    with pytest.raises(ImageError, match=r"absent\.jpg does not exist"):
        classifier.batch([plain("a"), tmp_path / "absent.jpg", *[plain("b")] * 50], batch_size=1)
    assert threading.active_count() == before


def test_stream_after_close(classifier: Classifier) -> None:
    stream = classifier.stream([plain("a"), plain("b"), plain("c")])
    next(stream)
    classifier.close()
    with pytest.raises(BackendError, match="closed"):
        next(stream)


def test_probabilities_of_pixels(classifier: Classifier) -> None:
    pixels = np.stack([plain(label, (8, 8)) for label in "cab"])
    found = classifier.probabilities(pixels)
    assert found.dtype == np.float32
    assert found.argmax(axis=1).tolist() == [2, 0, 1]
    assert classifier.probabilities(pixels[:0]).shape == (0, 3)
    for wrong in (pixels[0], pixels[:, :4], pixels.astype(np.float32)):
        with pytest.raises(ImageError, match=r"expected uint8 \[N, 8, 8, 3\]"):
            classifier.probabilities(wrong)


def test_eight_threads_at_once(classifier: Classifier) -> None:
    buffers = {}
    for label in COLOURS:
        buffer = io.BytesIO()
        Image.fromarray(plain(label, (200, 300))).save(buffer, "JPEG")
        buffers[label] = buffer.getvalue()
    wrong: list[str] = []

    def work(offset: int) -> None:
        for turn in range(30):
            label = "abc"[(turn + offset) % 3]
            found = classifier(buffers[label]).label if turn % 2 else classifier.batch([plain(label)] * 3)[2].label
            if found != label:
                wrong.append(f"{label} as {found}")

    threads = [threading.Thread(target=work, args=(i,)) for i in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []


def test_close_twice_and_use_after(bundle_folder: Path) -> None:
    with load(bundle_folder, backend="fake") as classifier:
        pass
    classifier.close()
    for use in (classifier, lambda image: classifier.batch([image])):
        with pytest.raises(BackendError, match="closed"):
            use(plain("a"))


def test_bad_images_are_named(classifier: Classifier, tmp_path: Path) -> None:
    (tmp_path / "cut.jpg").write_bytes(b"\xff\xd8\xff\xe0")
    with pytest.raises(ImageError, match=r"cut\.jpg is (damaged|truncated)"):
        classifier(tmp_path / "cut.jpg")
    with pytest.raises(ImageError, match="dtype float64"):
        classifier(np.zeros((8, 8, 3)))


def test_default_backend_is_the_targets(tmp_path: Path) -> None:
    folder = make_bundle(tmp_path / "b.edgx", backend="fake", labels=("x", "y"))
    with load(folder) as classifier:
        assert type(classifier._opened.session).__name__ == "FakeSession"
        assert classifier(plain("a")).label == "x"


def test_backend_that_this_machine_lacks(tmp_path: Path) -> None:
    folder = make_bundle(tmp_path / "b.edgx", backend="elsewhere", dialect="tensorrt")
    with pytest.raises(MissingPartError, match=r"made for 'elsewhere' \(target 'test'\).*no such backend") as caught:
        load(folder)
    assert 'load(bundle, backend="ort")' in caught.value.hint
    assert "--backend ort" in caught.value.hint
    with load(folder, backend="fake") as classifier:
        assert classifier(plain("c")).label == "c"
    with pytest.raises(SettingsError, match="did you mean 'fake'"):
        load(folder, backend="fak")


def test_engine_that_is_not_installed(bundle_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("edgexfer.backends.ort.missing", lambda: "onnxruntime is not installed; pip install it")
    with pytest.raises(MissingPartError, match="cannot run here: onnxruntime is not installed; pip install it"):
        load(bundle_folder)


def test_session_is_closed_where_the_first_run_fails(bundle_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    closed = []

    def fail(_: Any) -> None:
        raise BackendError("out of memory")

    session = SimpleNamespace(run=fail, close=lambda: closed.append(True))
    monkeypatch.setattr("edgexfer.backends.fake.open_session", lambda *_, **__: session)
    with pytest.raises(BackendError, match="out of memory"):
        load(bundle_folder, backend="fake")
    assert closed == [True]


def test_settings_and_artifacts_that_are_wrong(bundle_folder: Path, tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="threads is 0, expected 1 or more"):
        load(bundle_folder, threads=0)
    with pytest.raises(ArtifactError, match="does not exist"):
        load(tmp_path / "absent.edgx")
    with (bundle_folder / "model.onnx").open("ab") as file:
        file.write(b"\0")
    with pytest.raises(ArtifactError, match=r"model\.onnx was changed after it was written"):
        load(bundle_folder)
