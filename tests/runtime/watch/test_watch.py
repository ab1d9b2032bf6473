"""Watch: counters that are right from any number of threads, and texts that others can read."""

from __future__ import annotations

import json
import logging
import threading
from pathlib import Path

import numpy as np
import pytest

from edgexfer import LowScores, Watch, load
from edgexfer.core.errors import BackendError, EdgexferError, ImageError, SettingsError
from edgexfer.core.expected import count_answers
from tests.bundles import make_bundle
from tests.runtime.sessions import engines

COLOURS = {"a": (220, 30, 30), "b": (30, 220, 30), "c": (30, 30, 220)}
IMAGES = {label: np.full((20, 30, 3), colour, np.uint8) for label, colour in COLOURS.items()}
GREY = np.full((20, 30, 3), 128, np.uint8)
EVEN = count_answers([(label, 0.9) for label in "abc"] * 40, "test")
HOSTILE = 'say "x"\\\nb'


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return make_bundle(tmp_path / "b.edgx", backend="fake", known_from=0.8, expected=EVEN)


def test_what_is_counted(folder: Path, tmp_path: Path) -> None:
    watch = Watch()
    with load(folder, watch=watch) as classifier:
        classifier(IMAGES["a"])
        classifier.batch([IMAGES["b"], GREY, IMAGES["b"]], batch_size=2)
        list(classifier.stream([IMAGES["c"], IMAGES["c"]]))
        for bad in (tmp_path / "absent.jpg", b""):
            with pytest.raises(ImageError):
                classifier(bad)
        with pytest.raises(ImageError):
            list(classifier.stream([b""]))
        classifier.probabilities(np.zeros((1, 8, 8, 3), np.uint8))
    with pytest.raises(BackendError):
        classifier(GREY)
    counted = watch.counted
    grey = classifier.labels[0]  # a draw goes to the first
    assert counted.classes == {"b": 2, "c": 2, "a": 1 + (grey == "a")}
    assert (counted.predictions, counted.unknown, counted.unknown_share) == (6, 1, 1 / 6)
    assert counted.errors == {"ImageError": 3}
    assert (counted.seconds.count, counted.scores.count) == (5, 6)
    assert 0 < counted.seconds.total < 60


def test_answers_are_the_same_as_unwatched(folder: Path) -> None:
    with load(folder) as plain, load(folder, watch=Watch()) as watched:
        for image in (*IMAGES.values(), GREY):
            assert np.array_equal(plain(image).probabilities, watched(image).probabilities)


def test_eight_threads_lose_no_count(folder: Path) -> None:
    watch = Watch()
    with load(folder, watch=watch) as classifier:
        threads = [
            threading.Thread(target=lambda: [classifier(IMAGES[label]) for label in "abc" * 15]) for _ in range(8)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert watch.counted.classes == {"a": 120, "b": 120, "c": 120}
    assert watch.counted.seconds.count == watch.counted.scores.count == 360


def test_drift_is_told_once_and_so_is_its_end(folder: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "edgexfer")
    watch = Watch(window=60, expected=count_answers([(label, 0.99) for label in "abc"] * 40))
    with load(folder, watch=watch) as classifier:
        assert watch.drift is None
        for labels in ("abc", "a", "a", "abc"):
            classifier.batch([IMAGES[label] for label in labels] * (60 // len(labels)))
            assert watch.drift is not None
            assert bool(watch.drift.classes) == (labels == "a")
    told = [record.message for record in caplog.records if "predicted classes" in record.message]
    assert told[0].startswith("the predicted classes of the last 60 predictions differ from export: class 'a' 100.0 %")
    assert told[1:] == ["the predicted classes are as at export again"]
    assert watch.to_json()["drift"]["alarms"]["classes"] == 2


def test_older_bundles_say_that_they_cannot_tell(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    watch = Watch(window=50)
    with load(make_bundle(tmp_path / "old.edgx", backend="fake"), watch=watch) as classifier:
        classifier.batch([GREY] * 100)
    assert "does not say what its network answered at export" in watch.no_drift_because
    assert watch.no_drift_because in caplog.text
    assert watch.drift is None
    assert "edgexfer_drift" not in watch.prometheus()
    seen = watch.seen()
    assert (seen.images, seen.classes) == (100, {"a": 100})
    again = Watch(window=50, expected=seen)
    with load(tmp_path / "old.edgx", watch=again) as classifier:
        classifier.batch([GREY] * 50)
        assert again.drift is not None
        assert not again.drift.classes
        classifier.batch([IMAGES["b"]] * 50)
        assert again.drift.classes


def test_neighbouring_frames_are_one_observation(folder: Path) -> None:
    watch = Watch(window=50, apart_s=3600)
    with load(folder, watch=watch) as classifier:
        for _ in range(200):
            classifier(IMAGES["a"])
    assert (watch.counted.predictions, watch.drift) == (200, None)


def test_counters_go_on_after_a_swap_and_drift_begins_anew(folder: Path, tmp_path: Path) -> None:
    watch = Watch(window=50)
    with load(folder, watch=watch) as classifier:
        classifier.batch([IMAGES["a"]] * 60)
        assert watch.drift is not None
        classifier.swap(make_bundle(tmp_path / "c.edgx", backend="fake", name="next", expected=EVEN))
        assert watch.drift is None
        classifier(IMAGES["b"])
    assert watch.counted.classes == {"a": 60, "b": 1}
    assert 'edgexfer_bundle_info{name="next"' in watch.prometheus()


def test_engine_failures_are_counted(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    opened = engines(monkeypatch)
    watch = Watch()
    with load(folder, watch=watch) as classifier:
        opened[0].error = BackendError("out of memory")
        with pytest.raises(BackendError):
            classifier(GREY)
        opened[0].error = KeyboardInterrupt()  # type: ignore[assignment]
        with pytest.raises(KeyboardInterrupt):
            classifier(GREY)
        opened[0].error = None
        assert classifier(IMAGES["a"]).label == "a"
    assert (watch.counted.errors, watch.counted.predictions) == ({"BackendError": 1}, 1)


def test_prometheus_reads_it(tmp_path: Path) -> None:
    parser = pytest.importorskip("prometheus_client.parser", reason="prometheus-client is not installed (dev)")
    folder = make_bundle(tmp_path / "b.edgx", backend="fake", labels=(HOSTILE, "é", "c"), name=HOSTILE, expected=EVEN)
    watch = Watch(keep=LowScores(tmp_path / "kept"), window=50)
    with load(folder, watch=watch) as classifier:
        classifier.batch([*[IMAGES["a"]] * 50, IMAGES["b"]])
        with pytest.raises(ImageError):
            classifier(b"")
    target = tmp_path / "out" / "edgexfer.prom"
    watch.write_prometheus(target)
    families = {each.name: each for each in parser.text_string_to_metric_families(target.read_text(encoding="utf-8"))}
    kinds = {name: each.type for name, each in families.items()}
    assert kinds == {
        "edgexfer_bundle_info": "gauge",
        "edgexfer_predictions": "counter",
        "edgexfer_unknown": "counter",
        "edgexfer_errors": "counter",
        "edgexfer_inference_seconds": "histogram",
        "edgexfer_score": "histogram",
        "edgexfer_drift_windows": "counter",
        "edgexfer_drift_alarms": "counter",
        "edgexfer_drifting": "gauge",
        "edgexfer_frames_kept": "counter",
        "edgexfer_frames_lost": "counter",
    }
    assert {s.labels["label"]: s.value for s in families["edgexfer_predictions"].samples} == {HOSTILE: 50, "é": 1}
    assert families["edgexfer_bundle_info"].samples[0].labels["name"] == HOSTILE
    scores = {s.labels.get("le", s.name): s.value for s in families["edgexfer_score"].samples}
    assert scores["+Inf"] == scores["edgexfer_score_count"] == 51
    assert scores["0.1"] == 0
    assert {s.labels["what"]: s.value for s in families["edgexfer_drifting"].samples}["classes"] == 1


def test_json_lines_can_be_read(folder: Path, tmp_path: Path) -> None:
    watch = Watch()
    with load(folder, watch=watch) as classifier:
        for _ in range(2):
            classifier(IMAGES["a"])
            watch.append_json(tmp_path / "watch.jsonl")
    lines = [json.loads(line) for line in (tmp_path / "watch.jsonl").read_text(encoding="utf-8").splitlines()]
    assert [line["predictions"] for line in lines] == [1, 2]
    assert {line["digest"] for line in lines} == {classifier.bundle.digest}
    assert sum(lines[1]["scores"]["counts"]) == 2
    with pytest.raises(EdgexferError, match="cannot write"):
        watch.append_json(tmp_path / "b.edgx" / "manifest.json" / "x")


@pytest.mark.parametrize("wrong", [{"window": 49}, {"level": 0}, {"level": 1}, {"apart_s": -1}])
def test_settings_out_of_range(wrong: dict[str, float]) -> None:
    with pytest.raises(SettingsError, match=f"{next(iter(wrong))} of Watch is"):
        Watch(**wrong)  # type: ignore[arg-type]
