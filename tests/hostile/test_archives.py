"""A zipped bundle from a stranger: opened as the folder would be, or refused before anything of it lies on the disk."""

from __future__ import annotations

import gc
import io
import json
import stat
import struct
import tempfile
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

from edgexfer.core.bundle import open_bundle
from edgexfer.core.errors import ArtifactError, EdgexferError
from edgexfer.core.manifest import MANIFEST
from edgexfer.runtime.classifier import load
from tests.hostile.forge import entry, forge

Add = Callable[[zipfile.ZipFile], object]


def packed(folder: Path, *add: Add, prefix: str = "tiny.edgx/", compression: int = zipfile.ZIP_DEFLATED) -> Path:
    out = folder.with_name("tiny.edgx.zip")
    with zipfile.ZipFile(out, "w", compression) as archive:
        for path in sorted(folder.rglob("*")):
            archive.write(path, prefix + path.relative_to(folder).as_posix())
        for change in add:
            change(archive)
    return out


def member(name: str, data: bytes = b"x", mode: int = 0) -> Add:
    def add(archive: zipfile.ZipFile) -> None:
        info = zipfile.ZipInfo(name)
        info.filename = name  # as it is, also with a NUL in it
        info.external_attr = mode << 16
        archive.writestr(info, data)

    return add


@pytest.fixture
def unpacked_in(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    place = tmp_path / "temporary"
    place.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(place))
    return place


@pytest.mark.parametrize("prefix", ["", "tiny.edgx/"])
@pytest.mark.parametrize("compression", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
def test_it_opens_as_the_folder_does(bundle_folder: Path, unpacked_in: Path, prefix: str, compression: int) -> None:
    opened = open_bundle(packed(bundle_folder, prefix=prefix, compression=compression))
    assert opened.digest == open_bundle(bundle_folder).digest
    assert len(opened.references()[0]) == 16
    again = opened.at(opened.precision)
    del opened
    gc.collect()
    assert again.model.is_file()
    del again
    gc.collect()
    assert not list(unpacked_in.iterdir())


def test_it_predicts(bundle_folder: Path) -> None:
    pytest.importorskip("onnxruntime", reason="onnxruntime is not installed (pip install 'edgexfer[cpu]')")
    with load(packed(bundle_folder)) as classifier:
        assert classifier.labels == ("a", "b", "c")


def test_engines_stay_behind(bundle_folder: Path) -> None:
    (bundle_folder / "engines" / "x").mkdir(parents=True)
    (bundle_folder / "engines" / "x" / "engine.bin").write_bytes(b"code")
    assert not (open_bundle(packed(bundle_folder)).folder / "engines").exists()


@pytest.mark.parametrize(
    "add",
    [
        member("../evil"),
        member("tiny.edgx/../../evil"),
        member("/etc/cron.d/evil"),
        member("tiny.edgx\\..\\evil"),
        member("C:/evil"),
        member("tiny.edgx/split.csv\0.txt"),
        member("tiny.edgx/note\n"),
        member("tiny.edgx/link", b"/etc/passwd", stat.S_IFLNK | 0o777),
        member("tiny.edgx/pipe", b"", stat.S_IFIFO | 0o666),
        member("tiny.edgx/null", b"", stat.S_IFCHR | 0o666),
        member("tiny.edgx/disk", b"", stat.S_IFBLK | 0o666),
        member("tiny.edgx/socket", b"", stat.S_IFSOCK | 0o666),
        member("tiny.edgx/SPLIT.CSV"),
        member("beside.txt"),
        lambda archive: archive.writestr("tiny.edgx/note", b"x", zipfile.ZIP_LZMA),
    ],
)
def test_one_bad_member_and_nothing_is_unpacked(bundle_folder: Path, unpacked_in: Path, add: Add) -> None:
    with pytest.raises(ArtifactError):
        open_bundle(packed(bundle_folder, add))
    assert not list(unpacked_in.iterdir())


def test_a_link_in_the_place_of_a_file(bundle_folder: Path, unpacked_in: Path) -> None:
    (bundle_folder / "split.csv").unlink()
    with pytest.raises(ArtifactError, match="a link"):
        open_bundle(packed(bundle_folder, member("tiny.edgx/split.csv", b"/etc/passwd", stat.S_IFLNK | 0o777)))
    assert not list(unpacked_in.iterdir())


def test_a_name_that_is_there_twice(bundle_folder: Path) -> None:
    with pytest.warns(UserWarning, match="Duplicate name"):
        path = packed(bundle_folder, member("tiny.edgx/split.csv"))
    with pytest.raises(ArtifactError, match="would be one file"):
        open_bundle(path)


def test_a_bomb(bundle_folder: Path, unpacked_in: Path) -> None:
    data = bytes(80 << 20)
    forge(bundle_folder, lambda manifest: manifest["files"].update({"zeros": entry(data)}))
    with pytest.raises(ArtifactError, match="would become"):
        open_bundle(packed(bundle_folder, member("tiny.edgx/zeros", b"")))
    assert not list(unpacked_in.iterdir())


@pytest.mark.parametrize("data", [b"", bytes(1 << 20)])
def test_a_member_of_another_size_than_the_manifest_says(bundle_folder: Path, unpacked_in: Path, data: bytes) -> None:
    forge(bundle_folder, lambda manifest: manifest["files"].update({"note": entry(b"four")}))
    with pytest.raises(ArtifactError, match="has not the size"):
        open_bundle(packed(bundle_folder, member("tiny.edgx/note", data)))
    gc.collect()
    assert not list(unpacked_in.iterdir())


def test_a_manifest_that_inflates(bundle_folder: Path, unpacked_in: Path) -> None:
    (bundle_folder / MANIFEST).write_bytes(b" " * (5 << 20))
    with pytest.raises(ArtifactError, match="larger than"):
        open_bundle(packed(bundle_folder))
    assert not list(unpacked_in.iterdir())


def test_an_encrypted_member(bundle_folder: Path) -> None:
    path = packed(bundle_folder)
    data = bytearray(path.read_bytes())
    central = data.index(b"PK\1\2")
    data[central + 8] |= 1
    path.write_bytes(bytes(data))
    with pytest.raises(ArtifactError, match="encrypted"):
        open_bundle(path)


def test_a_directory_without_end_is_not_read() -> None:
    # A gigabyte of entries, which zipfile would make objects of; the file is a hole.
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "x.zip"
        with path.open("wb") as file:
            file.truncate(1 << 30)
            file.seek(0, io.SEEK_END)
            file.write(struct.pack("<4s4H2IH", b"PK\5\6", 0, 0, 60_000, 60_000, 1 << 30, 0, 0))
        with pytest.raises(ArtifactError, match="at most are read"):
            open_bundle(path)


@pytest.mark.parametrize("data", [b"", b"not a zip", b"PK\5\6" + bytes(18), b"PK\5\6" + b"\xff" * 18])
def test_what_is_no_archive(tmp_path: Path, data: bytes) -> None:
    path = tmp_path / "x.edgx.zip"
    path.write_bytes(data)
    with pytest.raises(ArtifactError):
        open_bundle(path)


def test_every_cut_and_every_changed_byte_is_refused_or_harmless(bundle_folder: Path) -> None:
    digest, path = open_bundle(bundle_folder).digest, packed(bundle_folder)
    data = path.read_bytes()
    for place in range(0, len(data), 97):
        for broken in (data[:place], data[:place] + bytes([data[place] ^ 0x5A]) + data[place + 1 :]):
            path.write_bytes(broken)
            try:
                assert open_bundle(path).digest == digest  # a time stamp in the directory, say
            except EdgexferError:
                continue


def test_json_in_an_archive_is_read_as_in_a_folder(bundle_folder: Path) -> None:
    (bundle_folder / MANIFEST).write_text(json.dumps({"kind": "bundle"}) + "[" * 100_000)
    with pytest.raises(ArtifactError):
        open_bundle(packed(bundle_folder))
