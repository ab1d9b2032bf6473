"""Frames with low scores: which are kept, never more than asked for, and readable by what trains next."""

from __future__ import annotations

import io
import socket
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from edgexfer import LowScores, Watch, load
from edgexfer.core.dataset import read_dataset
from edgexfer.core.errors import EdgexferError, SettingsError
from tests.bundles import make_bundle

RED = np.full((20, 30, 3), (220, 30, 30), np.uint8)
GREY = np.full((20, 30, 3), 128, np.uint8)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return make_bundle(tmp_path / "b.edgx", backend="fake", known_from=0.8, labels=("a/../b", "b", "c"))


def kept_of(
    folder: Path, place: Path, images: list[object], *, below: float | None = 0.7, most: int = 500, **more: int
) -> Watch:
    watch = Watch(keep=LowScores(place, below=below, most=most, apart_s=0, **more))
    with load(folder, watch=watch) as classifier:
        for number, image in enumerate(images):
            classifier(image)  # type: ignore[arg-type]
            for _ in range(1000):  # the next one comes when this one is on the disk
                frames = watch.to_json()["frames"]
                if sum(frames.values()) > number or (below == 0.7 and image is RED):
                    break
                time.sleep(0.005)
    return watch


def as_png(image: np.ndarray) -> bytes:  # type: ignore[type-arg]
    buffer = io.BytesIO()
    Image.fromarray(image).save(buffer, "PNG")
    return buffer.getvalue()


def names(place: Path) -> list[str]:
    return sorted(path.name for path in place.iterdir())


def test_low_scores_alone_are_kept_as_they_came(folder: Path, tmp_path: Path) -> None:
    place, png = tmp_path / "kept", as_png(GREY)
    (tmp_path / "frame.png").write_bytes(png)
    kept_of(folder, place, [RED, GREY])
    kept_of(folder, place, [png, tmp_path / "frame.png", Image.fromarray(GREY)])
    found = names(place)
    assert [name.rpartition(".")[2] for name in found] == ["jpg", "png", "png", "jpg"]
    assert all("-0333-a_.._b-" in name for name in found)
    assert [(place / name).read_bytes() == png for name in found] == [False, True, True, False]
    with Image.open(place / found[0]) as image:
        assert np.abs(np.asarray(image).astype(int) - GREY).max() <= 2
    assert place.stat().st_mode & 0o077 == 0


def test_unknown_is_the_default(folder: Path, tmp_path: Path) -> None:
    watch = kept_of(folder, tmp_path / "kept", [GREY], below=None)
    assert watch.to_json()["frames"] == {"kept": 1, "lost": 0}


def test_the_application_may_reuse_its_buffer(folder: Path, tmp_path: Path) -> None:
    frame = GREY.copy()
    with load(folder, watch=Watch(keep=LowScores(tmp_path / "kept", apart_s=0))) as classifier:
        classifier(frame)
        frame[:] = 0
    (path,) = (tmp_path / "kept").iterdir()
    with Image.open(path) as image:
        assert np.asarray(image).min() > 120


def test_never_more_than_asked_for_over_restarts(folder: Path, tmp_path: Path) -> None:
    place = tmp_path / "kept"
    for _ in range(3):
        kept_of(folder, place, [GREY] * 3, most=4)
        assert len(names(place)) <= 4
    before = names(place)
    kept_of(folder, place, [GREY], most=4)
    assert names(place)[:3] == before[1:]  # the oldest went


def test_never_more_bytes_than_asked_for(folder: Path, tmp_path: Path) -> None:
    place, size = tmp_path / "kept", len(as_png(GREY))
    kept_of(folder, place, [as_png(GREY)] * 5, most_bytes=3 * size + 1)
    assert len(names(place)) == 3
    watch = kept_of(folder, tmp_path / "none", [as_png(GREY)], most_bytes=size - 1)
    assert (names(tmp_path / "none"), watch.to_json()["frames"]["lost"]) == ([], 1)


def test_what_others_put_there_is_neither_counted_nor_removed(folder: Path, tmp_path: Path) -> None:
    place = tmp_path / "kept"
    (place / "stop").mkdir(parents=True)
    labelled = place / "stop" / "20261121T204501123456-0431-stop-1f.jpg"
    for path in (labelled, place / "notes.txt", place / "photo.jpg"):
        path.write_bytes(b"mine")
    leftover = place / ".20261121T204501123456-0431-stop-1f.jpg.0123abcd.tmp"
    leftover.write_bytes(b"half")
    kept_of(folder, place, [GREY] * 3, most=1)
    assert not leftover.exists()
    assert labelled.exists()
    assert {"notes.txt", "photo.jpg", "stop"} < set(names(place))
    assert len(names(place)) == 4


def test_one_scene_does_not_fill_the_folder(folder: Path, tmp_path: Path) -> None:
    with load(folder, watch=Watch(keep=LowScores(tmp_path / "kept"))) as classifier:
        classifier.batch([GREY] * 100)
    assert len(names(tmp_path / "kept")) == 1


def test_a_folder_that_vanishes_or_refuses_ends_no_prediction(
    folder: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    place = tmp_path / "kept"
    watch = Watch(keep=LowScores(place, apart_s=0))
    with load(folder, watch=watch) as classifier:
        place.rmdir()
        place.write_text("a file", encoding="utf-8")
        assert classifier(GREY).unknown
        watch.close()
        assert classifier(GREY).unknown
    assert watch.to_json()["frames"] == {"kept": 0, "lost": 2}
    assert caplog.text.count("a frame was not kept") == 1
    with pytest.raises(EdgexferError, match="cannot write"):
        Watch(keep=LowScores(place))


def test_what_is_labelled_is_what_the_next_training_reads(folder: Path, tmp_path: Path) -> None:
    place = tmp_path / "kept"
    kept_of(folder, place, [as_png(np.full((20, 30, 3), 120 + step, np.uint8)) for step in range(4)])
    with pytest.raises(EdgexferError, match="only images without class folders"):
        read_dataset(place)
    for label, name in zip(("b", "c"), names(place), strict=False):
        (place / label).mkdir()
        (place / name).rename(place / label / name)
    data = read_dataset(place)
    assert sorted(sample.label for sample in data.samples) == ["b", "c"]


def test_no_connection_is_opened(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise AssertionError("a socket was opened")

    monkeypatch.setattr(socket, "socket", refuse)
    watch = kept_of(folder, tmp_path / "kept", [GREY])
    watch.write_prometheus(tmp_path / "edgexfer.prom")
    assert watch.to_json()["frames"]["kept"] == 1


def test_the_process_ends_with_ctrl_c_and_leaves_whole_files(folder: Path, tmp_path: Path) -> None:
    code = (
        "import os, signal, sys, threading\nimport numpy as np\n"
        "from edgexfer import LowScores, Watch, load\n"
        "watch = Watch(keep=LowScores(sys.argv[2], apart_s=0, most=20))\n"
        "grey = np.full((200, 300, 3), 128, np.uint8)\n"
        "classifier = load(sys.argv[1], watch=watch)\n"
        "threading.Timer(0.3, os.kill, (os.getpid(), signal.SIGINT)).start()\n"
        "try:\n"
        "    while True:\n        classifier(grey)\n"
        "except KeyboardInterrupt:\n"
        "    classifier.close()\n    print(watch.counted.predictions > 0)\n"
    )
    command = [sys.executable, "-W", "error", "-c", code, str(folder), str(tmp_path / "kept")]
    done = subprocess.run(command, check=False, capture_output=True, text=True, timeout=120)
    assert (done.returncode, done.stdout) == (0, "True\n")
    assert 0 < len(names(tmp_path / "kept")) <= 20
    for name in names(tmp_path / "kept"):
        with Image.open(tmp_path / "kept" / name) as image:
            image.load()


@pytest.mark.parametrize("wrong", [{"below": 0}, {"below": 1.1}, {"most": 0}, {"most_bytes": 0}, {"apart_s": -1}])
def test_settings_out_of_range(tmp_path: Path, wrong: dict[str, float]) -> None:
    with pytest.raises(SettingsError, match=f"{next(iter(wrong))} of LowScores is"):
        LowScores(tmp_path, **wrong)  # type: ignore[arg-type]
