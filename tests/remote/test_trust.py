"""A signed bundle is as signed on the device that it was sent to."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from edgexfer.core.errors import ArtifactError, RemoteError
from edgexfer.core.packed import SIGNATURES
from edgexfer.runtime.classifier import load
from tests.remote.sshd import Server
from tests.trust.signing import key_at, public, signed_copy

pytest.importorskip("onnxruntime", reason="onnxruntime is not installed (pip install 'edgexfer[cpu]')")


def test_a_device_with_trust_verifies_what_it_was_sent(server: Server, bundle_folder: Path, tmp_path: Path) -> None:
    release, stranger = key_at(tmp_path), key_at(tmp_path, "stranger")
    first = signed_copy(bundle_folder, tmp_path / "1" / "tiny.edgx", release, 1)
    second = signed_copy(bundle_folder, tmp_path / "2" / "tiny.edgx", release, 2)
    with server.device() as device:
        device.install(extras=("cpu",))
        there = {name: device.send_bundle(folder) for name, folder in (("first", first), ("second", second))}
        plain = device.send_bundle(bundle_folder)
        trusted = ("--trust", str(public(release)))
        assert device.run(["verify", there["first"], *trusted]).returncode == 0
        for place, key, said in (
            (plain, release, "is not signed"),
            (there["first"], stranger, "whom the trust file does not name"),
        ):
            with pytest.raises(RemoteError, match=said):
                device.run(["verify", place, "--trust", str(public(key))])
    # What lies there is what an application on the device opens, and it never goes back.
    with load(there["second"], trust=public(release)) as classifier:
        assert classifier.bundle.digest
    with pytest.raises(ArtifactError, match="it is version 1 of 'tiny', and this device has opened 2"):
        load(there["first"], trust=public(release))


def test_signatures_that_came_later_are_sent(server: Server, bundle_folder: Path, tmp_path: Path) -> None:
    signed = signed_copy(bundle_folder, tmp_path / "signed" / "tiny.edgx", key_at(tmp_path), 1)
    with server.device() as device:
        before = Path(device.send_bundle(bundle_folder))
        shutil.copyfile(signed / SIGNATURES, bundle_folder / SIGNATURES)
        after = Path(device.send_bundle(bundle_folder))
    assert not (before / SIGNATURES).exists()
    assert (after / SIGNATURES).read_bytes() == (signed / SIGNATURES).read_bytes()
