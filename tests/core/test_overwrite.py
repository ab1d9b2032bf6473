"""--overwrite replaces artifacts and nothing else: a mistyped --out costs nobody their photographs."""

from __future__ import annotations

from pathlib import Path

import pytest

from edgexfer.core.errors import EdgexferError
from edgexfer.core.manifest import read_manifest, write_manifest
from edgexfer.core.staging import refuse_existing, staged_folder


def write(folder: Path, name: str) -> None:
    (folder / "weights.safetensors").write_text(name, encoding="utf-8")
    write_manifest(folder, "checkpoint", {"name": name})


def test_an_artifact_is_replaced_only_where_that_is_wanted(tmp_path: Path) -> None:
    out = tmp_path / "run"
    with staged_folder(out) as stage:
        write(stage, "old")
    with pytest.raises(EdgexferError, match="exists already") as refused, staged_folder(out):
        pass
    assert "--overwrite" in refused.value.hint
    with staged_folder(out, overwrite=True) as stage:
        write(stage, "new")
    assert read_manifest(out, "checkpoint")["name"] == "new"
    assert [path.name for path in tmp_path.iterdir()] == ["run"]


def test_an_artifact_stays_where_its_replacement_fails(tmp_path: Path) -> None:
    out = tmp_path / "run"
    with staged_folder(out) as stage:
        write(stage, "old")
    with pytest.raises(ZeroDivisionError), staged_folder(out, overwrite=True) as stage:
        write(stage, str(1 // 0))
    assert read_manifest(out, "checkpoint")["name"] == "old"
    assert [path.name for path in tmp_path.iterdir()] == ["run"]


@pytest.mark.parametrize("manifest", [None, b"{}", b'{"kind": "app"}', b"[1]", b"\xff"])
def test_what_is_no_artifact_is_never_replaced(tmp_path: Path, manifest: bytes | None) -> None:
    photos = tmp_path / "photos"
    photos.mkdir()
    (photos / "1.jpg").write_bytes(b"precious")
    if manifest is not None:
        (photos / "manifest.json").write_bytes(manifest)
    with pytest.raises(EdgexferError, match="neither a checkpoint nor a bundle"):
        refuse_existing(photos, overwrite=True)
    with pytest.raises(EdgexferError, match="neither a checkpoint nor a bundle"):
        refuse_existing(photos / "1.jpg", overwrite=True)
    with pytest.raises(EdgexferError, match="neither"), staged_folder(photos, overwrite=True):
        pass
    assert (photos / "1.jpg").read_bytes() == b"precious"


def test_a_free_place_is_never_refused(tmp_path: Path) -> None:
    refuse_existing(tmp_path / "run", overwrite=False)
    refuse_existing(tmp_path / "run", overwrite=True)
    assert list(tmp_path.iterdir()) == []
