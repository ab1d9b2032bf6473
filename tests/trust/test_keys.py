"""Keys: made for their owner alone, read in the forms of OpenSSH and PEM, refused where others could have read them."""

from __future__ import annotations

import shutil
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from edgexfer.core.errors import EdgexferError, MissingPartError, SettingsError
from edgexfer.trust.private_keys import make_key, read_key
from edgexfer.trust.public_keys import fingerprint, from_line, public_line, read_trust
from tests.trust.signing import key_at, public


@pytest.mark.parametrize("form", ["openssh", "pem"])
@pytest.mark.parametrize("passphrase", [None, "a b"])
def test_what_is_made_is_read(tmp_path: Path, form: str, passphrase: str | None) -> None:
    if form == "openssh" and passphrase:
        pytest.importorskip("bcrypt", reason="bcrypt is not installed (pip install 'edgexfer[sign]')")
    made = make_key(tmp_path / "key", form=form, passphrase=passphrase)  # type: ignore[arg-type]
    key = read_key(tmp_path / "key", lambda: str(passphrase))
    assert read_trust(made)[0].public == key.public_key().public_bytes_raw()
    assert stat.S_IMODE((tmp_path / "key").stat().st_mode) == 0o600
    if passphrase:
        for ask in (None, lambda: "wrong"):
            with pytest.raises(SettingsError):
                read_key(tmp_path / "key", ask)


def test_a_key_is_not_replaced(tmp_path: Path) -> None:
    key = key_at(tmp_path)
    before = key.read_bytes()
    for gone in (public(key), key):
        with pytest.raises(EdgexferError, match="exists already"):
            make_key(key)
        gone.unlink()
    assert len(before) > 100


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o644, 0o660, 0o620, 0o601])
def test_a_key_that_others_can_read_is_refused(tmp_path: Path, mode: int) -> None:
    key = key_at(tmp_path)
    key.chmod(mode)
    with pytest.raises(EdgexferError, match="can be read by others") as refused:
        read_key(key)
    assert f"chmod 600 {key}" in refused.value.hint


def test_what_is_no_key(tmp_path: Path) -> None:
    path = tmp_path / "key"
    path.touch(0o600)
    for data in (b"", b"\xff" * 99, b"-----BEGIN OPENSSH PRIVATE KEY-----\nAAAA\n-----END OPENSSH PRIVATE KEY-----\n"):
        path.write_bytes(data)
        with pytest.raises(SettingsError, match="is no private key"):
            read_key(path)
    with pytest.raises(SettingsError, match="cannot read"):
        read_key(tmp_path / "none")


def test_a_key_of_another_kind(tmp_path: Path) -> None:
    from cryptography.hazmat.primitives import serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    made = ec.generate_private_key(ec.SECP256R1())
    plain = serialization.NoEncryption()
    path = tmp_path / "key"
    path.touch(0o600)
    path.write_bytes(made.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, plain))
    with pytest.raises(SettingsError, match="no Ed25519 key"):
        read_key(path)
    form = serialization.PublicFormat.SubjectPublicKeyInfo
    path.write_bytes(made.public_key().public_bytes(serialization.Encoding.PEM, form))
    with pytest.raises(SettingsError, match="no Ed25519 key"):
        read_trust(path)


@pytest.mark.skipif(shutil.which("ssh-keygen") is None, reason="ssh-keygen is not installed")
def test_keys_of_ssh_keygen_serve_and_ours_serve_it(tmp_path: Path) -> None:
    theirs = tmp_path / "theirs"
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "me", "-f", theirs], check=True)
    assert read_trust(public(theirs))[0].public == read_key(theirs).public_key().public_bytes_raw()
    for key in (theirs, key_at(tmp_path, "ours")):
        said = subprocess.run(
            ["ssh-keygen", "-l", "-f", public(key)], check=True, capture_output=True, text=True
        ).stdout
        assert fingerprint(read_trust(public(key))[0].public) in said


def test_a_public_key_in_pem(tmp_path: Path) -> None:
    from cryptography.hazmat.primitives import serialization

    key = read_key(key_at(tmp_path))
    form = serialization.PublicFormat.SubjectPublicKeyInfo
    path = tmp_path / "key.pem"
    path.write_bytes(key.public_key().public_bytes(serialization.Encoding.PEM, form))
    assert read_trust(path)[0].public == key.public_key().public_bytes_raw()


def test_a_line_is_spelled_in_one_way_alone() -> None:
    line = public_line(bytes(range(32)), "me")
    found = from_line(line)
    assert found is not None
    assert (found.public, found.comment) == (bytes(range(32)), "me")
    kind, key, _ = line.split()
    for broken in (f"{kind} {key[:-1]}", f"{kind} {key[:-2]}A=", f"ssh-rsa {key}", f"{kind} {key}=", "", f"{kind} é"):
        assert from_line(broken) is None


@pytest.mark.parametrize("content", ["", "# nobody\n", "ssh-rsa AAAA me\n", "\x00", "-----BEGIN PUBLIC KEY-----\nAA\n"])
def test_a_trust_file_without_keys(tmp_path: Path, content: str) -> None:
    path = tmp_path / "trusted"
    path.write_text(content)
    with pytest.raises(SettingsError):
        read_trust(path)


def test_a_trust_file_that_is_none_of_anybodys_business(tmp_path: Path) -> None:
    key = key_at(tmp_path)
    with pytest.raises(SettingsError, match="is a private key"):
        read_trust(key)
    public(key).chmod(0o666)
    with pytest.raises(SettingsError, match="anybody may write"):
        read_trust(public(key))
    with pytest.raises(SettingsError, match="no key to trust"):
        read_trust([])


def test_without_the_package_one_line_says_what_to_install(bundle_folder: Path, tmp_path: Path) -> None:
    from tests.trust.signing import signed_copy

    key = key_at(tmp_path)
    signed = signed_copy(bundle_folder, tmp_path / "signed.edgx", key, 1)
    code = (
        "import sys\nsys.modules['cryptography'] = None\nfrom edgexfer import load\nload(sys.argv[1]).close()\n"
        "try:\n    load(sys.argv[1], trust=sys.argv[2])\nexcept ImportError as error:\n    print(error)"
    )
    done = subprocess.run([sys.executable, "-c", code, signed, public(key)], check=True, capture_output=True, text=True)
    assert (
        done.stdout == "this needs the package 'cryptography', which is not installed (pip install 'edgexfer[sign]')\n"
    )
    assert issubclass(MissingPartError, ImportError)
