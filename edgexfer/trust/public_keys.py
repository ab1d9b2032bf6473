"""Public keys as text, and the files that say whose signatures a device believes.

A trust file has one key a line, as `edgexfer keygen` and `ssh-keygen -t ed25519` write it into FILE.pub; blank lines
and those that begin with # do not count. A key may be held to bundles of certain names:

    ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAI... release@example
    names="signs,flowers" ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAI... another@example

A file in PEM (`-----BEGIN PUBLIC KEY-----`) holds one key. An Ed25519 key in OpenSSH's form is base64 of two strings,
each after its length in four bytes, big-endian: "ssh-ed25519" and the 32 bytes (RFC 8709, section 4).
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import os
import re
import stat
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

from edgexfer.core.errors import SettingsError
from edgexfer.trust.ed25519 import needs_cryptography

_KIND = b"ssh-ed25519"
_HEAD = len(_KIND).to_bytes(4, "big") + _KIND + (32).to_bytes(4, "big")
_LINE = re.compile(r'(?:names="(?P<names>[^"]*)"\s+)?ssh-ed25519\s+(?P<key>\S+)(?:\s+(?P<comment>.*))?')
_MOST_BYTES = 1 << 20

Trust: TypeAlias = "str | Path | Sequence[str | Path]"
"""A trust file, or several, or lines of such a file themselves."""


@dataclass(frozen=True)
class TrustedKey:
    """Whom a device believes.

    Attributes:
        public: 32 bytes.
        comment: whatever stands behind the key.
        names: of the bundles that it may sign; empty for all.
    """

    public: bytes
    comment: str = ""
    names: tuple[str, ...] = ()

    def may_sign(self, name: str) -> bool:
        """Returns whether bundles of this name are its business."""
        return not self.names or name in self.names


def public_line(public: bytes, comment: str = "") -> str:
    """Returns a key of 32 bytes as a line in OpenSSH's form."""
    return f"ssh-ed25519 {base64.b64encode(_HEAD + public).decode()} {comment}".rstrip()


def fingerprint(public: bytes) -> str:
    """Returns what `ssh-keygen -l` calls the key: "SHA256:" and 43 letters."""
    digest = hashlib.sha256(_HEAD + public).digest()
    return "SHA256:" + base64.b64encode(digest).decode().rstrip("=")


def from_line(line: str) -> TrustedKey | None:
    """Returns the key of a line, None where it holds no Ed25519 key spelled as `public_line` spells it."""
    match = _LINE.fullmatch(line.strip())
    if match is None:
        return None
    try:
        raw = base64.b64decode(match["key"], validate=True)
    except (binascii.Error, ValueError):
        return None
    if len(raw) != len(_HEAD) + 32 or not raw.startswith(_HEAD) or base64.b64encode(raw).decode() != match["key"]:
        return None
    names = tuple(name.strip() for name in (match["names"] or "").split(",") if name.strip())
    return TrustedKey(raw[len(_HEAD) :], match["comment"] or "", names)


def read_trust(trust: Trust) -> tuple[TrustedKey, ...]:
    """Reads every key that `trust` names.

    Raises:
        SettingsError: a file that cannot be read, that anybody may write to, or in which a line is no key; or none at
            all.
        MissingPartError: a key in PEM, and `cryptography` is not installed.
    """
    items = [trust] if isinstance(trust, (str, Path)) else list(trust)
    found = [key for item in items for key in _keys_of(item)]
    if not found:
        raise SettingsError("there is no key to trust", "give the FILE.pub of `edgexfer keygen FILE`")
    return tuple(found)


def _keys_of(item: str | Path) -> list[TrustedKey]:
    if isinstance(item, str) and (key := from_line(item)) is not None:
        return [key]
    path = Path(item)
    text = _text(path)
    if "PRIVATE KEY" in text:
        raise SettingsError(f"{path} is a private key, which is nobody's business", f"give its public half: {path}.pub")
    if text.lstrip().startswith("-----BEGIN PUBLIC KEY-----"):
        return [TrustedKey(_from_pem(text, path), path.stem)]
    found = []
    for number, line in enumerate(text.splitlines(), start=1):
        if not line.strip() or line.lstrip().startswith("#"):
            continue
        key = from_line(line)
        if key is None:
            raise SettingsError(
                f"line {number} of {path} is no Ed25519 key, expected such as: ssh-ed25519 AAAA... name",
                "make one with `edgexfer keygen FILE` or `ssh-keygen -t ed25519`",
            )
        found.append(key)
    return found


def _text(path: Path) -> str:
    try:
        with path.open("rb") as file:
            mode, data = os.fstat(file.fileno()).st_mode, file.read(_MOST_BYTES)
        text = data.decode()
    except OSError as error:
        raise SettingsError(f"cannot read the trust file {path}: {error.strerror}", "give FILE.pub") from error
    except UnicodeDecodeError as error:
        raise SettingsError(f"the trust file {path} is no text", "give FILE.pub") from error
    if stat.S_ISREG(mode) and mode & stat.S_IWOTH:
        raise SettingsError(f"anybody may write to the trust file {path}", f"chmod o-w {path}")
    return text


def _from_pem(text: str, path: Path) -> bytes:
    with needs_cryptography():
        from cryptography.exceptions import UnsupportedAlgorithm
        from cryptography.hazmat.primitives import serialization
        from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
    try:
        key = serialization.load_pem_public_key(text.encode())
    except (ValueError, TypeError, UnsupportedAlgorithm) as error:
        raise SettingsError(f"{path} is no public key in PEM: {error}", "make one with `edgexfer keygen`") from error
    if not isinstance(key, Ed25519PublicKey):
        raise SettingsError(f"{path} is no Ed25519 key", "make one with `edgexfer keygen FILE`")
    return key.public_bytes_raw()
