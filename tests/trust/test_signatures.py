"""A signed bundle is what its signer says: any byte of it changed, another key, an older version, and it is refused."""

from __future__ import annotations

import json
import random
import zipfile
from pathlib import Path

import pytest

from edgexfer.core.bundle import Bundle, open_bundle
from edgexfer.core.device_state import state_folder
from edgexfer.core.errors import ArtifactError, EdgexferError, SettingsError
from edgexfer.core.packed import SIGNATURES
from edgexfer.runtime.classifier import load
from edgexfer.trust.accepted import last_accepted
from edgexfer.trust.private_keys import read_key
from edgexfer.trust.sign import sign_bundle
from edgexfer.trust.statement import read_envelope
from edgexfer.trust.verify import check_signed
from tests.hostile.forge import forge
from tests.trust.signing import key_at, public, signed_copy


@pytest.fixture(autouse=True)
def _fresh_device(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EDGEXFER_STATE", str(tmp_path / "state"))


@pytest.fixture
def key(tmp_path: Path) -> Path:
    return key_at(tmp_path)


@pytest.fixture
def signed(bundle_folder: Path, key: Path) -> Path:
    sign_bundle(bundle_folder, read_key(key), version=7)
    return bundle_folder


def opened(place: Path, trust: Path) -> Bundle:
    found = check_signed(place, trust)
    bundle = open_bundle(place)
    found.check_is(bundle)
    return bundle


def test_it_opens_for_who_trusts_the_signer(signed: Path, key: Path) -> None:
    with load(signed, trust=public(key)) as classifier:
        assert classifier.labels == ("a", "b", "c")
    with load(open_bundle(signed), trust=[public(key)]):
        pass
    with load(signed, trust=public(key).read_text()):
        pass


def test_without_trust_it_opens_as_before(signed: Path) -> None:
    with load(signed) as classifier:
        assert classifier.labels == ("a", "b", "c")


def test_unsigned(bundle_folder: Path, key: Path) -> None:
    with pytest.raises(ArtifactError, match="is not signed") as refused:
        load(bundle_folder, trust=public(key))
    assert "edgexfer sign" in refused.value.hint


def test_signed_by_another(signed: Path, tmp_path: Path) -> None:
    with pytest.raises(ArtifactError, match="whom the trust file does not name"):
        load(signed, trust=public(key_at(tmp_path, "other")))


def test_one_changed_byte_anywhere_is_refused(signed: Path, key: Path) -> None:
    files = sorted(path for path in signed.rglob("*") if path.is_file())
    for seed in range(200):
        dice = random.Random(seed)
        path = dice.choice(files)
        kept = path.read_bytes()
        place = dice.randrange(len(kept))
        path.write_bytes(kept[:place] + bytes([kept[place] ^ dice.randint(1, 255)]) + kept[place + 1 :])
        with pytest.raises(EdgexferError):
            opened(signed, public(key))
        path.write_bytes(kept)
    opened(signed, public(key))


def test_no_byte_of_the_signatures_is_of_no_account(signed: Path, key: Path) -> None:
    path = signed / SIGNATURES
    kept = path.read_bytes()
    for place in range(0, len(kept), 2):
        for byte in {kept[place] ^ 1, ord(" ")} - {kept[place]}:
            path.write_bytes(kept[:place] + bytes([byte]) + kept[place + 1 :])
            with pytest.raises(EdgexferError):
                check_signed(signed, public(key))
        path.write_bytes(kept[:place])
        with pytest.raises(EdgexferError):
            check_signed(signed, public(key))


def test_digests_that_are_right_again_do_not_help(signed: Path, key: Path) -> None:
    (signed / "split.csv").write_text("path,label,split,sha256\nmine,a,test,0\n")
    forge(signed)
    open_bundle(signed)
    with pytest.raises(ArtifactError, match="was changed after it was signed"):
        load(signed, trust=public(key))


def test_a_signature_of_another_bundle(signed: Path, tmp_path: Path, key: Path) -> None:
    other = signed_copy(signed, tmp_path / "other.edgx", key, 8)
    forge(other, lambda manifest: manifest.update(name="other"))
    with pytest.raises(ArtifactError, match="was changed after it was signed"):
        load(other, trust=public(key))


def test_a_bundle_that_is_replaced_while_it_is_opened(signed: Path, key: Path) -> None:
    found = check_signed(signed, public(key))
    forge(signed, lambda manifest: manifest.update(name="other"))
    with pytest.raises(ArtifactError, match="changed while it was opened"):
        found.check_is(open_bundle(signed))


class TestSeveralSigners:
    def test_one_of_them_is_enough(self, signed: Path, key: Path, tmp_path: Path) -> None:
        second = key_at(tmp_path, "second")
        envelope = sign_bundle(signed, read_key(second))
        assert (envelope.statement.version, len(envelope.signatures)) == (7, 2)
        for each in (key, second):
            assert opened(signed, public(each)).labels
        both = tmp_path / "trusted"
        both.write_text(f"# ours\n\n{public(key).read_text()}{public(second).read_text()}")
        assert len(check_signed(signed, both).by) == 2

    def test_another_version_takes_the_place_of_all(self, signed: Path, tmp_path: Path) -> None:
        envelope = sign_bundle(signed, read_key(key_at(tmp_path, "second")), version=8)
        assert (envelope.statement.version, len(envelope.signatures)) == (8, 1)

    def test_a_wrong_one_beside_a_right_one(self, signed: Path, key: Path, tmp_path: Path) -> None:
        sign_bundle(signed, read_key(key_at(tmp_path, "second")))
        content = json.loads((signed / SIGNATURES).read_bytes())
        content["signatures"][1]["sig"] = content["signatures"][0]["sig"]
        (signed / SIGNATURES).write_text(json.dumps(content, indent=2) + "\n")
        with pytest.raises(ArtifactError, match="is not right"):
            load(signed, trust=public(key))

    def test_after_a_change_the_old_ones_are_gone(self, signed: Path, tmp_path: Path) -> None:
        forge(signed, lambda manifest: manifest.update(name="new"))
        envelope = sign_bundle(signed, read_key(key_at(tmp_path, "second")), version=9)
        assert (envelope.statement.name, len(envelope.signatures)) == ("new", 1)


class TestRollback:
    def test_what_is_older_is_refused(self, bundle_folder: Path, tmp_path: Path, key: Path) -> None:
        old, new = (signed_copy(bundle_folder, tmp_path / f"v{n}.edgx", key, n) for n in (1, 2))
        load(old, trust=public(key)).close()
        load(new, trust=public(key)).close()
        load(new, trust=public(key)).close()
        with pytest.raises(ArtifactError, match="version 1 of 'tiny', and this device has opened 2"):
            load(old, trust=public(key))

    def test_another_bundle_of_the_same_version(self, bundle_folder: Path, tmp_path: Path, key: Path) -> None:
        first = signed_copy(bundle_folder, tmp_path / "a.edgx", key, 1)
        load(first, trust=public(key)).close()
        forge(bundle_folder, lambda manifest: manifest.update(provenance={"x": 1}))
        with pytest.raises(ArtifactError, match="another version 1"):
            load(signed_copy(bundle_folder, tmp_path / "b.edgx", key, 1), trust=public(key))

    def test_each_name_counts_its_own(self, bundle_folder: Path, tmp_path: Path, key: Path) -> None:
        load(signed_copy(bundle_folder, tmp_path / "a.edgx", key, 9, "one"), trust=public(key)).close()
        load(signed_copy(bundle_folder, tmp_path / "b.edgx", key, 3, "other"), trust=public(key)).close()

    def test_what_does_not_run_is_not_remembered(self, bundle_folder: Path, tmp_path: Path, key: Path) -> None:
        load(signed_copy(bundle_folder, tmp_path / "a.edgx", key, 1), trust=public(key)).close()
        (bundle_folder / "model.onnx").write_bytes(
            (bundle_folder / "model.onnx").read_bytes().replace(b"Gemm", b"Gemn")
        )
        with pytest.raises(EdgexferError, match="refuses"):
            load(signed_copy(forge(bundle_folder), tmp_path / "b.edgx", key, 2), trust=public(key))
        load(tmp_path / "a.edgx", trust=public(key)).close()

    def test_looking_is_not_accepting(self, signed: Path, key: Path) -> None:
        check_signed(signed, public(key))
        assert last_accepted("tiny") is None
        assert not state_folder().exists()

    @pytest.mark.parametrize(
        "content", ["", "{", "[]", '{"format_version": 1}', '{"format_version": 1, "accepted": {"tiny": 1}}']
    )
    def test_a_damaged_memory_accepts_nothing(self, signed: Path, key: Path, content: str) -> None:
        load(signed, trust=public(key)).close()
        (state_folder() / "accepted.json").write_text(content)
        with pytest.raises(ArtifactError):
            load(signed, trust=public(key))

    def test_what_cannot_be_remembered_is_not_opened(
        self, signed: Path, key: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        (tmp_path / "file").touch()
        monkeypatch.setenv("EDGEXFER_STATE", str(tmp_path / "file" / "state"))
        with pytest.raises(EdgexferError) as refused:
            load(signed, trust=public(key))
        assert "EDGEXFER_STATE" in refused.value.hint


def test_a_key_may_be_trusted_for_some_names(signed: Path, key: Path, tmp_path: Path) -> None:
    trust = tmp_path / "trusted"
    trust.write_text(f'names="tiny, signs" {public(key).read_text()}')
    assert opened(signed, trust).labels
    trust.write_text(f'names="signs" {public(key).read_text()}')
    with pytest.raises(ArtifactError, match="trusted for other names"):
        check_signed(signed, trust)


def test_an_archive_brings_its_signatures(signed: Path, key: Path) -> None:
    path = signed.with_name("tiny.edgx.zip")
    with zipfile.ZipFile(path, "w") as archive:
        for file in sorted(signed.iterdir()):
            archive.write(file, f"tiny.edgx/{file.name}")
    with load(path, trust=public(key)) as classifier:
        assert (classifier.bundle.folder / SIGNATURES).is_file()
    with pytest.raises(SettingsError, match="is an archive"):
        sign_bundle(path, read_key(key))


def test_the_signature_is_that_of_dsse(signed: Path, key: Path) -> None:
    import base64

    from cryptography.hazmat.primitives.serialization import load_ssh_public_key

    content = json.loads((signed / SIGNATURES).read_bytes())
    payload, kind = base64.b64decode(content["payload"]), content["payloadType"].encode()
    encoded = b"DSSEv1 " + str(len(kind)).encode() + b" " + kind + b" " + str(len(payload)).encode() + b" " + payload
    known = load_ssh_public_key(public(key).read_bytes())
    known.verify(base64.b64decode(content["signatures"][0]["sig"]), encoded)  # type: ignore[union-attr,call-arg]
    assert json.loads(payload)["version"] == read_envelope((signed / SIGNATURES).read_bytes(), signed).statement.version
