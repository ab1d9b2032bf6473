"""keygen, sign and verify on the command line."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.cli.terminal import Terminal

pytest.importorskip("cryptography", reason="cryptography is not installed (pip install 'edgexfer[sign]')")


@pytest.fixture(autouse=True)
def _fresh_device(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EDGEXFER_STATE", str(tmp_path / "state"))


def test_the_whole_way(edgexfer: Terminal, bundle_folder: Path, tmp_path: Path) -> None:
    made = edgexfer("keygen", tmp_path / "release")
    assert made.code == 0
    assert "SHA256:" in made.out
    said = edgexfer("verify", bundle_folder)
    assert said.code == 0
    assert "not signed" in said.out
    assert "the network" in said.out
    refused = edgexfer("verify", bundle_folder, "--trust", tmp_path / "release.pub")
    assert refused.code == 2
    assert refused.err.startswith(f"error: {bundle_folder} is not signed\n")
    signed = edgexfer("sign", bundle_folder, "--key", tmp_path / "release", "--version", 3)
    assert signed.out.startswith(f"{bundle_folder} is version 3 of 'tiny', signed by\n")
    trusted = edgexfer("verify", bundle_folder, "--trust", tmp_path / "release.pub", "--json", tmp_path / "out.json")
    assert trusted.code == 0
    assert "trusted" in trusted.out
    record = json.loads((tmp_path / "out.json").read_bytes())
    assert (record["kind"], record["signed"]["version"], record["others"]) == ("verified", 3, [])
    assert [entry["trusted"] for entry in record["signed"]["by"]] == [True]


def test_what_nothing_vouches_for_is_listed(edgexfer: Terminal, bundle_folder: Path) -> None:
    (bundle_folder / "notes.txt").write_text("mine")
    (bundle_folder / "engines" / ("0" * 64)).mkdir(parents=True)
    record = json.loads(edgexfer("verify", bundle_folder, "--json", "-").out)
    assert (record["others"], record["foreign_engines"]) == (["notes.txt"], [f"engines/{'0' * 64}"])
    assert {file["name"] for file in record["files"]} == {"model.onnx", "reference.npz", "split.csv"}
    assert "notes.txt" in edgexfer("verify", bundle_folder).out


def test_a_key_that_others_can_read(edgexfer: Terminal, bundle_folder: Path, tmp_path: Path) -> None:
    edgexfer("keygen", tmp_path / "release")
    (tmp_path / "release").chmod(0o644)
    said = edgexfer("sign", bundle_folder, "--key", tmp_path / "release")
    assert said.code == 2
    assert "can be read by others" in said.err
    assert "chmod 600" in said.err
    assert not (bundle_folder / "signatures.json").exists()


def test_a_version_that_is_none(edgexfer: Terminal, bundle_folder: Path, tmp_path: Path) -> None:
    edgexfer("keygen", tmp_path / "release", "--format", "pem")
    for version in ("0", "-3", str(2**60)):
        said = edgexfer("sign", bundle_folder, "--key", tmp_path / "release", f"--version={version}")
        assert said.code == 2
