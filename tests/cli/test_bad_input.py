"""Bad input at every verb: one `error:` line, a hint, exit code 2, no traceback, nothing half-written."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from edgexfer.core.manifest import MANIFEST, manifest_digest
from tests.bundles import make_bundle
from tests.cli.terminal import Said, Terminal, files_below
from tests.gate.images import write_image

Spoil = Callable[[Path], Path]


def refused(said: Said, *words: str) -> None:
    assert said.code == 2
    lines = said.err.splitlines()
    assert lines[0].startswith("error: ")
    assert sum(line.startswith("error: ") for line in lines) == 1
    assert len(lines) <= 2
    assert all(line.startswith("hint:  ") for line in lines[1:])
    assert "Traceback" not in said.out + said.err
    for word in words:
        assert word in said.err


def edited(bundle: Path, **changes: object) -> Path:
    manifest = {**json.loads((bundle / MANIFEST).read_text(encoding="utf-8")), **changes}
    manifest["digest"] = manifest_digest(manifest)
    (bundle / MANIFEST).write_text(json.dumps(manifest), encoding="utf-8")
    return bundle


def missing(bundle: Path) -> Path:
    return bundle.with_name("nothing.edgx")


def empty_file(bundle: Path) -> Path:
    bundle.with_name("empty.edgx").write_bytes(b"")
    return bundle.with_name("empty.edgx")


def other_folder(bundle: Path) -> Path:
    bundle.with_name("photos").mkdir()
    return bundle.with_name("photos")


def tampered_model(bundle: Path) -> Path:
    with (bundle / "model.onnx").open("ab") as file:
        file.write(b"!")
    return bundle


def tampered_manifest(bundle: Path) -> Path:
    text = (bundle / MANIFEST).read_text(encoding="utf-8")
    (bundle / MANIFEST).write_text(text.replace('"tiny"', '"Tiny"'), encoding="utf-8")
    return bundle


def no_json(bundle: Path) -> Path:
    (bundle / MANIFEST).write_bytes(b"\xff{")
    return bundle


def lacking_model(bundle: Path) -> Path:
    (bundle / "model.onnx").unlink()
    return bundle


def checkpoint(bundle: Path) -> Path:
    return edited(bundle, kind="checkpoint")


def newer(bundle: Path) -> Path:
    return edited(bundle, format_version=99)


SPOILT: list[tuple[Spoil, str]] = [
    (missing, "does not exist"),
    (empty_file, "is not a bundle"),
    (other_folder, "is not a bundle"),
    (tampered_model, "was changed after it was written"),
    (tampered_manifest, "was changed after it was written"),
    (no_json, "is not valid JSON"),
    (lacking_model, "lacks model.onnx"),
    (checkpoint, "is a checkpoint, expected a bundle"),
    (newer, "has format_version 99, this edgexfer reads 1"),
]


@pytest.mark.parametrize("verb", ["predict", "evaluate", "bench", "bench --against", "lint"])
@pytest.mark.parametrize(("spoil", "message"), SPOILT, ids=[spoil.__name__ for spoil, _ in SPOILT])
def test_a_bundle_that_is_none(
    edgexfer: Terminal, bundle_folder: Path, data: Path, tmp_path: Path, verb: str, spoil: Spoil, message: str
) -> None:
    good = make_bundle(tmp_path / "good.edgx", backend="fake")
    bundle = spoil(bundle_folder)
    before = files_below(tmp_path)
    rest = {"predict": [data / "a" / "0.png"], "evaluate": [data, "--json", tmp_path / "out.json"]}
    if verb == "bench --against":
        said = edgexfer("bench", good, "--against", bundle)
    else:
        said = edgexfer(verb, bundle, *rest.get(verb, []))
    refused(said, message, "hint:")
    assert said.out == ""
    assert files_below(tmp_path) == before


def test_images_that_are_none(edgexfer: Terminal, bundle_folder: Path, tmp_path: Path) -> None:
    (tmp_path / "not_an_image.txt").write_text("hello", encoding="utf-8")
    (tmp_path / "empty.jpg").write_bytes(b"")
    refused(edgexfer("predict", bundle_folder, tmp_path / "not_an_image.txt"), "is not an image of a known format")
    refused(edgexfer("predict", bundle_folder, tmp_path / "empty.jpg"), "is empty")
    refused(edgexfer("predict", bundle_folder, tmp_path / "none.jpg"), "does not exist")
    refused(edgexfer("predict", bundle_folder, tmp_path), "is a folder")


def test_a_bad_image_does_not_keep_the_good_ones_from_their_answer(
    edgexfer: Terminal, bundle_folder: Path, data: Path, tmp_path: Path
) -> None:
    (tmp_path / "bad.jpg").write_bytes(b"")
    said = edgexfer("predict", bundle_folder, data / "a" / "0.png", tmp_path / "bad.jpg", data / "b" / "0.png")
    refused(said, "bad.jpg is empty")
    assert [line.split()[1] for line in said.out.splitlines()] == ["a", "b"]


def test_data_that_is_none(edgexfer: Terminal, bundle_folder: Path, data: Path, tmp_path: Path) -> None:
    (tmp_path / "void").mkdir()
    (tmp_path / "list.csv").write_text("path\n", encoding="utf-8")
    for place in ("nothing", "void", "list.csv", "tiny.edgx/model.onnx"):
        refused(edgexfer("evaluate", bundle_folder, tmp_path / place))
    write_image(data / "zebra" / "0.png", (1, 2, 3))
    refused(edgexfer("evaluate", bundle_folder, data), "'zebra', unknown to the model")


def test_names_that_are_misspelt(edgexfer: Terminal, bundle_folder: Path, data: Path) -> None:
    image = data / "a" / "0.png"
    refused(edgexfer("targets", "x86-cp"), "unknown target 'x86-cp'", "did you mean 'x86-cpu'")
    refused(edgexfer("backbones", "resnet81"), "did you mean 'resnet18'")
    refused(edgexfer("predict", bundle_folder, image, "--backend", "otr"), "did you mean 'ort'")
    refused(edgexfer("evaluate", bundle_folder, data, "--split", "vall"), "did you mean 'val'")
    refused(edgexfer("predct"), "no such command 'predct'", "did you mean 'predict'?", "doctor")
    refused(edgexfer("data", "chek"), "did you mean 'check'?")
    refused(edgexfer("predict", "--tpo", "3", bundle_folder, image), "--tpo", "--top")
    refused(edgexfer("predict"), "BUNDLE", "edgexfer predict --help")


def test_a_target_file_with_an_unknown_key(edgexfer: Terminal, tmp_path: Path) -> None:
    path = tmp_path / "mine.toml"
    path.write_text('title = "x"\nbackend = "ort"\ndialect = "ort"\nprecison = "int8"\n', encoding="utf-8")
    refused(edgexfer("targets", path), "unknown key 'precison'", "did you mean 'precision'")
    refused(edgexfer("targets", tmp_path / "none.toml"), "cannot read")
    path.write_text("title =", encoding="utf-8")
    refused(edgexfer("targets", path), "is not valid TOML")


def test_numbers_out_of_range(edgexfer: Terminal, bundle_folder: Path, data: Path) -> None:
    image = data / "a" / "0.png"
    refused(edgexfer("predict", bundle_folder, image, "--top", 0), "top is 0, expected 1 or more")
    refused(edgexfer("predict", bundle_folder, image, "--threads", 0), "threads is 0")
    refused(edgexfer("predict", bundle_folder, image, "--top", "many"), "--top", "integer")
    refused(edgexfer("bench", bundle_folder, "--seconds", 0), "seconds is 0")
    refused(edgexfer("bench", bundle_folder, "--images", data / "none"), "does not exist")


def test_an_engine_that_is_not_here(edgexfer: Terminal, data: Path, tmp_path: Path) -> None:
    bundle = make_bundle(tmp_path / "jetson.edgx", backend="no-such-engine")
    refused(edgexfer("predict", bundle, data / "a" / "0.png"), "'no-such-engine'", "--backend ort")


@pytest.mark.parametrize("verb", ["evaluate", "bench"])
def test_records_that_cannot_be_written(
    edgexfer: Terminal, bundle_folder: Path, data: Path, tmp_path: Path, verb: str
) -> None:
    (tmp_path / "file").write_bytes(b"")
    call = [verb, bundle_folder, *([data] if verb == "evaluate" else ["--seconds", "0.01"]), "--json"]
    before = files_below(tmp_path)
    for place in (tmp_path / "file" / "x.json", tmp_path / "data", tmp_path / ("long" * 100)):
        refused(edgexfer(*call, place), "cannot write", str(place))
    assert files_below(tmp_path) == before


@pytest.mark.skipif(not Path("/proc/version").exists(), reason="needs Linux's /proc")
def test_a_place_where_no_folder_can_be_made(edgexfer: Terminal, bundle_folder: Path, data: Path) -> None:
    refused(edgexfer("evaluate", bundle_folder, data, "--json", "/proc/nothing/x.json"), "cannot write")


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full, a disk that is always full")
def test_a_full_disk(edgexfer: Terminal, bundle_folder: Path, data: Path) -> None:
    refused(edgexfer("evaluate", bundle_folder, data, "--json", "/dev/full"), "cannot write /dev/full: No space left")
    assert Path("/dev/full").is_char_device()


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root may write everywhere")
def test_no_permission(edgexfer: Terminal, bundle_folder: Path, data: Path, tmp_path: Path) -> None:
    (tmp_path / "locked").mkdir(mode=0o555)
    said = edgexfer("evaluate", bundle_folder, data, "--json", tmp_path / "locked" / "x.json")
    refused(said, "cannot write", "no permission")
    (bundle_folder / "model.onnx").chmod(0)
    refused(edgexfer("predict", bundle_folder, data / "a" / "0.png"), "model.onnx")
