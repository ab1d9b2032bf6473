"""`signatures.json` beside a bundle's manifest: who says that this manifest is version N of the bundle NAME.

It is a DSSE envelope (Dead Simple Signing Envelope 1.0, github.com/secure-systems-lab/dsse), as in-toto has it:

    {"payloadType": "application/vnd.edgexfer.bundle.v1+json", "payload": "<base64 of the statement>",
     "signatures": [{"keyid": "ssh-ed25519 AAAA...", "sig": "<base64 of 64 bytes>"}, ...]}

The statement, whose bytes are signed as they are:

    {"format_version": 1, "name": "signs", "version": 1790000000, "manifest_sha256": "<of the file's bytes>"}

Signed is DSSE's "PAE": `DSSEv1`, length and text of the type, length and bytes of the statement; so a signature holds
for this type and format alone. Since the manifest lists the digest of every file, it holds for all of them. The
envelope must be spelled as `to_bytes` spells it, and every signature in it must be right, whoever made it: no byte of
it can change.
"""

from __future__ import annotations

import base64
import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from edgexfer.core.errors import ArtifactError
from edgexfer.core.packed import MOST_SIGNATURES_BYTES
from edgexfer.trust.ed25519 import is_signature
from edgexfer.trust.public_keys import from_line, public_line

PAYLOAD_TYPE = "application/vnd.edgexfer.bundle.v1+json"
FORMAT_VERSION = 1
MOST_VERSION = 2**53 - 1
_MOST_NAME_LETTERS = 200
_MOST_SIGNERS = 64
_AGAIN = "sign it again with `edgexfer sign BUNDLE --key FILE`"


@dataclass(frozen=True)
class Statement:
    """What a signer says.

    Attributes:
        name: of the bundle; versions are counted under it.
        version: 1 to 2**53 - 1; a device goes back to no lower one.
        manifest_sha256: of the bytes of `manifest.json`.
    """

    name: str
    version: int
    manifest_sha256: str

    def to_bytes(self) -> bytes:
        """Returns what is signed, in DSSE's words the payload."""
        content = {"format_version": FORMAT_VERSION, "name": self.name, "version": self.version}
        return json.dumps({**content, "manifest_sha256": self.manifest_sha256}, ensure_ascii=False).encode()


@dataclass(frozen=True)
class Envelope:
    """A statement and who signed it.

    Attributes:
        statement: what is said.
        signatures: by public key (32 bytes), each 64 bytes; one or more.
    """

    statement: Statement
    signatures: dict[bytes, bytes]

    def to_bytes(self) -> bytes:
        """Returns the content of `signatures.json`."""
        signed = [
            {"keyid": public_line(public), "sig": base64.b64encode(signature).decode()}
            for public, signature in self.signatures.items()
        ]
        payload = base64.b64encode(self.statement.to_bytes()).decode()
        content = {"payloadType": PAYLOAD_TYPE, "payload": payload, "signatures": signed}
        return (json.dumps(content, indent=2) + "\n").encode()


def message_of(statement: Statement) -> bytes:
    """Returns the bytes that a key signs: DSSE's pre-authentication encoding."""
    kind, payload = PAYLOAD_TYPE.encode(), statement.to_bytes()
    return b"DSSEv1 %d %b %d %b" % (len(kind), kind, len(payload), payload)


def read_envelope(raw: bytes, where: Path) -> Envelope:
    """Reads `signatures.json` and checks every signature in it.

    Args:
        raw: the file's content.
        where: the bundle, named in errors.

    Raises:
        ArtifactError: damaged, of another type or version, or with a signature that is not right.
        MissingPartError: `cryptography` is not installed.
    """
    try:
        found = _parsed(raw)
        whole = found.to_bytes() == raw
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise ArtifactError(f"the signatures of {where} are damaged: {error}", _AGAIN) from error
    if not whole:
        raise ArtifactError(f"the signatures of {where} were changed after they were written", _AGAIN)
    message = message_of(found.statement)
    for public, signature in found.signatures.items():
        if not is_signature(public, signature, message):
            raise ArtifactError(f"a signature of {where} is not right: {public_line(public)}", _AGAIN)
    return found


def _parsed(raw: bytes) -> Envelope:
    if len(raw) > MOST_SIGNATURES_BYTES:
        raise ValueError("too large")
    content = json.loads(raw)
    if content["payloadType"] != PAYLOAD_TYPE:
        raise ValueError(f"they are of the type {str(content['payloadType'])[:60]!r}, expected {PAYLOAD_TYPE}")
    signatures = {}
    for item in content["signatures"]:
        key = from_line(item["keyid"])
        if key is None or key.names:
            raise ValueError("a key that is none")
        signatures[key.public] = base64.b64decode(item["sig"], validate=True)
    if not 1 <= len(signatures) <= _MOST_SIGNERS:
        raise ValueError(f"{len(signatures)} signers, expected 1 to {_MOST_SIGNERS}")
    return Envelope(_statement(json.loads(base64.b64decode(content["payload"], validate=True))), signatures)


def _statement(content: dict[str, Any]) -> Statement:
    if content["format_version"] != FORMAT_VERSION:
        raise ValueError(f"format_version {str(content['format_version'])[:20]}, expected {FORMAT_VERSION}")
    found = Statement(content["name"], content["version"], content["manifest_sha256"])
    if reason := why_no_statement(found):
        raise ValueError(reason)
    return found


def why_no_statement(statement: Statement) -> str:
    """Returns which of its values is none; "" where all are."""
    name: object = statement.name
    version: object = statement.version
    sha256: object = statement.manifest_sha256
    if not isinstance(name, str) or not name.isprintable() or not 1 <= len(name) <= _MOST_NAME_LETTERS:
        return f"the name is {str(name)[:60]!r}, expected 1 to {_MOST_NAME_LETTERS} printable letters"
    if not isinstance(version, int) or isinstance(version, bool) or not 1 <= version <= MOST_VERSION:
        return f"the version is {str(version)[:20]}, expected 1 to {MOST_VERSION}"
    if not isinstance(sha256, str) or not re.fullmatch("[0-9a-f]{64}", sha256):
        return "manifest_sha256 is no SHA-256"
    return ""
