from __future__ import annotations

import json
import math
from pathlib import Path

import pytest

from edgexfer import load
from edgexfer.core.errors import ArtifactError, DataError, SettingsError
from edgexfer.core.files import sha256_of_file
from edgexfer.core.manifest import MANIFEST, write_manifest
from edgexfer.gate.measure.evaluate import evaluate
from edgexfer.gate.measure.evaluation import Evaluation
from edgexfer.gate.measure.measurement import measurement_from_json, read_measurement
from tests.gate.images import COLOURS, write_folders, write_image


@pytest.fixture
def data(tmp_path: Path) -> Path:
    return write_folders(tmp_path / "data")


def remember(bundle: Path, splits: dict[Path, str]) -> None:
    """Makes the bundle one whose network was made from these images."""
    rows = [f"{path.name},{path.parent.name},{split},{sha256_of_file(path)}\n" for path, split in splits.items()]
    (bundle / "split.csv").write_text("path,label,split,sha256\n" + "".join(rows), encoding="utf-8")
    seal(bundle)


def seal(bundle: Path) -> None:
    manifest = json.loads((bundle / MANIFEST).read_text(encoding="utf-8"))
    write_manifest(bundle, "bundle", {k: v for k, v in manifest.items() if k not in ("kind", "files", "digest")})


def test_every_image_is_asked_and_kept(bundle_folder: Path, data: Path) -> None:
    seen: list[tuple[int, int]] = []
    result = evaluate(bundle_folder, data, progress=lambda done, everything: seen.append((done, everything)))
    assert seen == [(12, 12)]
    assert (len(result.images), result.top1, result.macro_f1) == (12, 1.0, 1.0)
    assert result.recall == {"a": 1.0, "b": 1.0, "c": 1.0}
    assert result.roles() == {"new": 12}
    assert (result.warnings, result.left_out, result.unreadable) == ((), {}, ())
    first = result.images[0]
    assert (first.path, first.label, first.predicted) == ("a/0.png", "a", "a")
    assert first.sha256 == sha256_of_file(data / "a" / "0.png")
    assert first.score == first.score_label > 0.5
    with load(bundle_folder) as classifier:
        assert classifier(data / "a" / "0.png").score == pytest.approx(first.score)
        assert result.subject.digest == classifier.bundle.digest
    assert result.subject.engine.startswith("onnxruntime ")
    assert not result.subject.simulated


def test_mistakes_are_counted_and_named(bundle_folder: Path, data: Path) -> None:
    for number in range(2):
        write_image(data / "a" / f"green{number}.png", COLOURS["b"], seed=900 + number)
    write_image(data / "c" / "red.png", COLOURS["a"], seed=950)
    result = evaluate(bundle_folder, data)
    assert result.top1 == pytest.approx(12 / 15)
    assert result.confused() == [("a", "b", 2), ("c", "a", 1)]
    assert result.confusion.tolist() == [[4, 2, 0], [0, 4, 0], [1, 0, 4]]
    assert result.recall["a"] == pytest.approx(4 / 6)
    wrong = next(image for image in result.images if image.path == "c/red.png")
    assert wrong.score_label < wrong.score
    assert 0 < result.ece < 1


def test_the_digest_tells_what_an_image_was_not_its_folder(bundle_folder: Path, tmp_path: Path) -> None:
    data = tmp_path / "data"
    for seed, split in enumerate(("train", "val", "test")):
        for label, colour in COLOURS.items():
            write_image(data / split / label / "x.png", colour, seed=seed)
    # The bundle was trained on what now lies in test/, and tested with what lies in train/.
    swapped = {"train": "test", "val": "val", "test": "train"}
    images = sorted(data.rglob("*.png"))
    remember(bundle_folder, {path: swapped[path.parent.parent.name] for path in images})
    result = evaluate(bundle_folder, data)
    assert [image.path for image in result.images] == ["train/a/x.png", "train/b/x.png", "train/c/x.png"]
    assert (result.roles(), result.left_out, result.warnings) == ({"test": 3}, {"train": 3, "val": 3}, ())

    everything = evaluate(bundle_folder, data, split="all")
    assert (everything.roles(), everything.left_out) == ({"test": 3, "val": 3, "train": 3}, {})
    assert "3 of 9 images were trained on" in everything.warnings[0]
    with pytest.raises(DataError, match="no images that were 'new'") as caught:
        evaluate(bundle_folder, data, split="new")
    assert "3 test" in caught.value.message


@pytest.mark.parametrize(("role", "warning"), [("val", "chose the epoch that was kept"), ("train", "were trained on")])
def test_flattering_images_are_used_only_where_there_are_no_others_and_it_says_so(
    bundle_folder: Path, data: Path, role: str, warning: str
) -> None:
    remember(bundle_folder, dict.fromkeys(sorted(data.rglob("*.png")), role))
    result = evaluate(bundle_folder, data)
    assert result.roles() == {role: 12}
    assert warning in result.warnings[0]


def test_new_images_judge_beside_old_ones(bundle_folder: Path, data: Path) -> None:
    remember(bundle_folder, dict.fromkeys(sorted(data.rglob("0.png")), "train"))
    result = evaluate(bundle_folder, data)
    assert (result.roles(), result.left_out) == ({"new": 9}, {"train": 3})


def test_unreadable_files_are_listed_and_strict_refuses_them(bundle_folder: Path, data: Path) -> None:
    (data / "a" / "empty.png").write_bytes(b"")
    (data / "b" / "text.jpg").write_bytes(b"not an image")
    (data / "b" / "notes.txt").write_text("stray", encoding="utf-8")
    result = evaluate(bundle_folder, data)
    assert len(result.images) == 12
    assert [item.path for item in result.unreadable] == ["a/empty.png", "b/notes.txt", "b/text.jpg"]
    assert result.unreadable[0].reason == "is empty"
    with pytest.raises(DataError, match="3 files of"):
        evaluate(bundle_folder, data, strict=True)


def test_only_unreadable_files(bundle_folder: Path, tmp_path: Path) -> None:
    for label in COLOURS:
        (tmp_path / "bad" / label).mkdir(parents=True)
        (tmp_path / "bad" / label / "x.png").write_bytes(b"no")
    with pytest.raises(DataError, match="no image that can be judged"):
        evaluate(bundle_folder, tmp_path / "bad")


def test_classes_are_compared_before_anything_runs(bundle_folder: Path, data: Path) -> None:
    write_image(data / "d" / "0.png", (9, 9, 9))
    with pytest.raises(DataError, match="has class 'd', unknown to the model"):
        evaluate(bundle_folder, data)
    (data / "d" / "0.png").unlink()
    (data / "d").rmdir()
    for path in (data / "c").iterdir():
        path.unlink()
    (data / "c").rmdir()
    with pytest.raises(DataError, match="no images of class 'c'"):
        evaluate(bundle_folder, data)
    result = evaluate(bundle_folder, data, partial=True)
    assert (result.top1, result.macro_f1) == (1.0, 1.0)
    assert math.isnan(result.recall["c"])
    assert result.to_json()["summary"]["recall"]["c"] is None


def test_a_class_missing_from_the_judging_part_is_named(bundle_folder: Path, data: Path) -> None:
    remember(bundle_folder, dict.fromkeys(sorted((data / "c").iterdir()), "train"))
    with pytest.raises(DataError, match=r"the part of .* that judges \(new\) has no images of class 'c'"):
        evaluate(bundle_folder, data)


def test_a_simulated_engine_says_so(bundle_folder: Path, data: Path) -> None:
    result = evaluate(bundle_folder, data, backend="fake", threads=1)
    assert (result.subject.backend, result.subject.simulated, result.top1) == ("fake", True, 1.0)
    assert result.host["threads"] == 1


def test_an_open_classifier_stays_open(bundle_folder: Path, data: Path) -> None:
    with load(bundle_folder, backend="fake") as classifier:
        assert evaluate(classifier, data).subject.backend == "fake"
        assert classifier(data / "b" / "0.png").label == "b"


def test_unknown_split_and_damaged_split_file(bundle_folder: Path, data: Path) -> None:
    with pytest.raises(SettingsError, match="unknown split 'tests'") as caught:
        evaluate(bundle_folder, data, split="tests")
    assert "did you mean 'test'" in caught.value.hint
    (bundle_folder / "split.csv").write_text("a,b\n1,2\n", encoding="utf-8")
    seal(bundle_folder)
    with pytest.raises(ArtifactError, match=r"split\.csv is damaged"):
        evaluate(bundle_folder, data)


def test_the_record_comes_back_from_its_file(bundle_folder: Path, data: Path, tmp_path: Path) -> None:
    result = evaluate(bundle_folder, data)
    path = tmp_path / "evaluation.json"
    path.write_text(json.dumps(result.to_json(), allow_nan=False), encoding="utf-8")
    again = read_measurement(path)
    assert isinstance(again, Evaluation)
    assert again == result
    assert again.to_json()["summary"]["top1"] == 1.0


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"kind": "recipe"}, "is not a measurement"),
        ({"format_version": 3}, "has format_version 3, this edgexfer reads 1 and 2"),
        ({"labels": ["x"]}, "has a class that is not among the labels"),
        ({"surprise": 1}, "unknown key 'surprise'"),
        ({"images": 5}, "images is 5"),
    ],
)
def test_records_that_do_not_fit_are_refused(
    bundle_folder: Path, data: Path, change: dict[str, object], message: str
) -> None:
    record = {**evaluate(bundle_folder, data).to_json(), **change}
    with pytest.raises(ArtifactError, match=message):
        measurement_from_json(record)


@pytest.mark.parametrize(("content", "message"), [(None, "cannot read"), (b"{", "not valid JSON"), (b"[]", "is not a")])
def test_files_that_are_no_measurement(tmp_path: Path, content: bytes | None, message: str) -> None:
    path = tmp_path / "x.json"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(ArtifactError, match=message):
        read_measurement(path)


def test_one_image_in_two_classes_judges_nobody(bundle_folder: Path, tmp_path: Path) -> None:
    data = write_folders(tmp_path / "data", each=5)
    (data / "b" / "copy.png").write_bytes((data / "a" / "0.png").read_bytes())
    result = evaluate(bundle_folder, data)
    assert len(result.images) == 14
    assert result.top1 == 1
    assert [item.path for item in result.unreadable] == ["a/0.png", "b/copy.png"]
    assert "'a' and 'b'" in result.unreadable[0].reason
