"""What this device vouches for: engines that it built, with a key that no bundle brings."""

from __future__ import annotations

import shutil
import stat
from pathlib import Path

import pytest

from edgexfer.core.bundle import Bundle, open_bundle
from edgexfer.core.device_state import is_sealed, make_device_key, seal, state_folder
from edgexfer.core.engine_store import read_timing_cache, store_engine, write_timing_cache
from edgexfer.core.engines import EngineKey, load_engine
from edgexfer.core.errors import ArtifactError, EdgexferError
from edgexfer.core.manifest import write_manifest

KEY = EngineKey("a" * 64, "int8", "tensorrt 10.3.0", "Orin", "8.7")


@pytest.fixture(autouse=True)
def _fresh_device(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EDGEXFER_STATE", str(tmp_path / "state"))


@pytest.fixture
def bundle(bundle_folder: Path) -> Bundle:
    return open_bundle(bundle_folder)


def planted(bundle: Bundle) -> Path:
    """An engine as a stranger puts it there: its manifest says what it should, and all digests are right."""
    folder = bundle.folder / "engines" / KEY.digest
    folder.mkdir(parents=True)
    (folder / "engine.bin").write_bytes(b"code of a stranger")
    write_manifest(folder, "engine", {"key": KEY.to_json(), "build_seconds": 1.0})
    return folder


def test_a_planted_engine_is_refused(bundle: Bundle) -> None:
    folder = planted(bundle)
    for content in (None, "", "0" * 64, "\xff", "None"):
        if content is not None:
            (folder / "seal").write_text(content)
        for device in (make_device_key, lambda: None):
            with pytest.raises(ArtifactError, match="nothing vouches for it") as refused:
                load_engine(bundle, KEY)
            assert refused.value.hint == f"edgexfer build {bundle.folder} --rebuild"
            device()


def test_what_was_built_here_opens_and_elsewhere_not(
    bundle: Bundle, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store_engine(bundle, KEY, b"engine", build_seconds=1.0)
    assert load_engine(bundle, KEY) == b"engine"
    monkeypatch.setenv("EDGEXFER_STATE", str(tmp_path / "another device"))
    with pytest.raises(ArtifactError, match="nothing vouches for it"):
        load_engine(bundle, KEY)
    make_device_key()
    with pytest.raises(ArtifactError, match="nothing vouches for it"):
        load_engine(bundle, KEY)
    store_engine(bundle, KEY, b"engine built here", build_seconds=1.0)
    assert load_engine(bundle, KEY) == b"engine built here"


def test_the_seal_of_one_engine_is_not_that_of_another(bundle: Bundle) -> None:
    built = store_engine(bundle, KEY, b"engine", build_seconds=1.0)
    kept = (built / "seal").read_text()
    shutil.rmtree(built)
    folder = planted(bundle)
    (folder / "seal").write_text(kept)
    with pytest.raises(ArtifactError, match="nothing vouches"):
        load_engine(bundle, KEY)


def test_a_timing_cache_of_a_stranger_is_not_used(
    bundle: Bundle, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (bundle.folder / "engines").mkdir()
    write_timing_cache(bundle, KEY, b"times")
    assert read_timing_cache(bundle, KEY) == b"times"
    monkeypatch.setenv("EDGEXFER_STATE", str(tmp_path / "another device"))
    assert read_timing_cache(bundle, KEY) is None


def test_the_key_is_its_owners_alone_and_made_once() -> None:
    assert seal("engine", b"x") is None
    assert not is_sealed("engine", b"x", "None")
    make_device_key()
    key = state_folder() / "device.key"
    assert stat.S_IMODE(key.stat().st_mode) == 0o600
    assert stat.S_IMODE(state_folder().stat().st_mode) == 0o700
    found = seal("engine", b"x")
    make_device_key()
    assert found == seal("engine", b"x") != seal("timing cache", b"x")
    assert [path.name for path in state_folder().iterdir()] == ["device.key"]


def test_a_key_that_others_can_read_is_refused() -> None:
    make_device_key()
    key = state_folder() / "device.key"
    key.chmod(0o640)
    with pytest.raises(EdgexferError, match="can be read by others") as refused:
        seal("engine", b"x")
    assert refused.value.hint == f"chmod 600 {key}"
    key.chmod(0o600)
    key.write_bytes(b"short")
    with pytest.raises(EdgexferError, match="expected 32"):
        seal("engine", b"x")


def test_where_it_lies(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("EDGEXFER_STATE")
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("XDG_STATE_HOME", "relative")
    assert state_folder() == tmp_path / ".local" / "state" / "edgexfer"
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "s"))
    assert state_folder() == tmp_path / "s" / "edgexfer"
