"""A manifest from a stranger, with digests that are right: opened as it is meant, or refused with a reason."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from edgexfer.core.bundle import open_bundle
from edgexfer.core.errors import ArtifactError, EdgexferError
from edgexfer.core.manifest import MANIFEST
from edgexfer.runtime.classifier import load
from tests.hostile.forge import entry, forge

SPLIT = "split.csv"


def lists(name: str, data: bytes = b"") -> Callable[[dict[str, Any]], None]:
    return lambda manifest: manifest["files"].update({name: entry(data)})


def says(**keys: Any) -> Callable[[dict[str, Any]], None]:
    return lambda manifest: manifest.update(keys)


def test_what_the_stranger_leaves_as_it_is_opens(bundle_folder: Path) -> None:
    assert open_bundle(forge(bundle_folder)).labels == ("a", "b", "c")


@pytest.mark.parametrize(
    "name",
    [
        "../outside.csv",
        "a/../../outside.csv",
        "/etc/passwd",
        "..\\outside.csv",
        "C:outside.csv",
        "a//b",
        "./split.csv",
        ".",
        "",
        "a\0b",
        "line\nbreak",
        "x" * 5000,
        "Manifest.JSON",
    ],
)
def test_a_name_stays_inside_the_folder_and_is_plain(bundle_folder: Path, name: str) -> None:
    (bundle_folder.parent / "outside.csv").touch()
    forge(bundle_folder, lists(name))
    with pytest.raises(ArtifactError):
        open_bundle(bundle_folder)


@pytest.mark.parametrize(("one", "other"), [("note.txt", "Note.TXT"), ("caf\u00e9", "cafe\u0301"), ("ß", "SS")])
def test_two_names_that_some_system_takes_for_one(bundle_folder: Path, one: str, other: str) -> None:
    for name in (one, other):
        (bundle_folder / name).write_bytes(b"")
    forge(bundle_folder, lambda manifest: [lists(name)(manifest) for name in (one, other)])
    with pytest.raises(ArtifactError, match="is one file"):
        open_bundle(bundle_folder)


@pytest.mark.parametrize("size", [-1, 1.0, True, "8", None, 10**30, float("nan"), float("inf")])
def test_a_size_is_a_size(bundle_folder: Path, size: Any) -> None:
    forge(bundle_folder, lambda manifest: manifest["files"][SPLIT].update(size_bytes=size))
    with pytest.raises(ArtifactError):
        open_bundle(bundle_folder)


def test_a_number_that_is_none(bundle_folder: Path) -> None:
    forge(bundle_folder, says(provenance={"accuracy": float("nan")}))
    with pytest.raises(ArtifactError, match="NaN is no JSON"):
        open_bundle(bundle_folder)


@pytest.mark.parametrize(
    "change",
    [
        says(labels=3),
        says(labels=None),
        says(labels=[]),
        says(labels=[1, 2, 3]),
        says(labels="abc"),
        says(labels_sha256=[]),
        says(name=["x"]),
        says(name="\ud800"),
        says(candidates=["int8"]),
        says(candidates={"int8": 3}),
        says(candidates={"int8": "../../etc/passwd"}),
        says(candidates={"$(reboot)": "model.onnx"}),
        says(precision=["int8"]),
        says(precision={}),
        lambda manifest: manifest.pop("precision"),
        says(preprocess=None),
        says(preprocess={"version": []}),
        lambda manifest: manifest["preprocess"].update(height=10**6, width=10**6),
        lambda manifest: manifest["preprocess"].update(height=-1),
        says(target=[]),
        says(target=None),
        lambda manifest: manifest["target"].update(options=7),
        lambda manifest: manifest["target"].update(host={"machine": ["x"]}),
        lambda manifest: manifest["target"].update(rivals={"a": 1}),
        says(unknown=7),
        says(format_version=True),
        says(format_version=[1]),
        says(kind=["bundle"]),
        says(files=[]),
    ],
)
def test_a_key_of_another_type_is_refused(bundle_folder: Path, change: Callable[[dict[str, Any]], None]) -> None:
    with pytest.raises(EdgexferError):
        open_bundle(forge(bundle_folder, change))


@pytest.mark.parametrize("threads", [-1, 10**6, 10**30])
def test_no_stranger_starts_a_million_threads(bundle_folder: Path, threads: int) -> None:
    pytest.importorskip("onnxruntime", reason="onnxruntime is not installed (pip install 'edgexfer[cpu]')")
    forge(bundle_folder, lambda manifest: manifest["target"]["options"].update(threads=threads))
    with pytest.raises(EdgexferError, match="expected 0 to"):
        load(bundle_folder)


class TestWhatLiesThere:
    def test_a_link_leads_nowhere(self, bundle_folder: Path) -> None:
        (bundle_folder / SPLIT).unlink()
        (bundle_folder / SPLIT).symlink_to("/etc/passwd")
        with pytest.raises(ArtifactError, match="it is a link"):
            open_bundle(forge(bundle_folder))

    def test_nor_does_a_folder_that_is_one(self, bundle_folder: Path, tmp_path: Path) -> None:
        (tmp_path / "outside").mkdir()
        (tmp_path / "outside" / "x.csv").write_bytes(b"1")
        (bundle_folder / "inside").symlink_to(tmp_path / "outside")
        with pytest.raises(ArtifactError, match="inside is a link"):
            open_bundle(forge(bundle_folder, lists("inside/x.csv", b"1")))

    @pytest.mark.parametrize("name", [SPLIT, MANIFEST, "engines/chosen.json"])
    def test_a_pipe_is_not_waited_for(self, bundle_folder: Path, name: str) -> None:
        forge(bundle_folder, lambda manifest: manifest["target"].update(rivals=["openvino"]))
        (bundle_folder / name).parent.mkdir(exist_ok=True)
        (bundle_folder / name).unlink(missing_ok=True)
        os.mkfifo(bundle_folder / name)
        with pytest.raises(ArtifactError):
            load(bundle_folder, backend=None)

    def test_a_device_has_no_end(self, bundle_folder: Path) -> None:
        (bundle_folder / MANIFEST).unlink()
        (bundle_folder / MANIFEST).symlink_to("/dev/zero")
        with pytest.raises(ArtifactError):
            open_bundle(bundle_folder)

    def test_engines_lie_in_the_bundle(self, bundle_folder: Path, tmp_path: Path) -> None:
        (bundle_folder / "engines").symlink_to(tmp_path)
        with pytest.raises(ArtifactError, match="engines is a link"):
            open_bundle(bundle_folder)

    def test_what_is_not_listed_is_not_believed(self, bundle_folder: Path) -> None:
        (bundle_folder / "measurements.json").write_text("{}")
        with pytest.raises(ArtifactError, match="its manifest does not list"):
            open_bundle(bundle_folder)


class TestJson:
    @pytest.mark.parametrize("depth", [500, 990, 5_000, 1_000_000])
    def test_deep(self, bundle_folder: Path, depth: int) -> None:
        (bundle_folder / MANIFEST).write_text('{"kind": "bundle", "x": ' + "[" * depth + "]" * depth + "}")
        with pytest.raises(ArtifactError):
            open_bundle(bundle_folder)

    def test_larger_than_any_manifest(self, bundle_folder: Path) -> None:
        with (bundle_folder / MANIFEST).open("ab") as file:
            file.truncate(3 << 30)  # a hole: it takes no space
        started = time.monotonic()
        with pytest.raises(ArtifactError, match="larger than"):
            open_bundle(bundle_folder)
        assert time.monotonic() - started < 60

    def test_a_key_that_is_there_twice(self, bundle_folder: Path) -> None:
        text = (bundle_folder / MANIFEST).read_text()
        (bundle_folder / MANIFEST).write_text(text.replace('"kind"', '"name": "another",\n  "kind"', 1))
        with pytest.raises(ArtifactError, match="was changed"):
            open_bundle(bundle_folder)

    def test_other_spaces_say_the_same_and_are_refused(self, bundle_folder: Path) -> None:
        content = json.loads((bundle_folder / MANIFEST).read_bytes())
        (bundle_folder / MANIFEST).write_text(json.dumps(content))
        with pytest.raises(ArtifactError, match="was changed"):
            open_bundle(bundle_folder)
