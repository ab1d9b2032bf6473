"""Sign: a private key's owner says which version of which bundle this is."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING

from edgexfer.core.bundle import open_bundle
from edgexfer.core.errors import SettingsError
from edgexfer.core.files import sha256_of_bytes, write_file
from edgexfer.core.packed import SIGNATURES, is_packed, read_beside_manifest
from edgexfer.trust.statement import Envelope, Statement, message_of, read_envelope, why_no_statement

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey


def sign_bundle(
    folder: Path, key: Ed25519PrivateKey, *, name: str | None = None, version: int | None = None
) -> Envelope:
    """Checks a bundle, signs its manifest and writes `signatures.json` beside it.

    Where others have signed the same manifest, and neither name nor version is another one, this signature is added to
    theirs; else it takes their place.

    Args:
        folder: of the bundle, not an archive.
        key: of the signer.
        name: under which versions are counted; by default what others have signed, else the manifest's `name`.
        version: 1 to 2**53 - 1; by default what others have signed, else the seconds since 1970.

    Returns:
        What is in the file now.

    Raises:
        ArtifactError: the bundle, or its signatures, are damaged.
        SettingsError: an archive, or a name or version that is none.
        EdgexferError: the file cannot be written.
    """
    if is_packed(folder):
        raise SettingsError(f"{folder} is an archive, expected the folder of a bundle", "sign it, then pack it")
    opened = open_bundle(folder)
    manifest, found = read_beside_manifest(folder)
    sha256 = sha256_of_bytes(manifest)
    earlier = None if found is None else read_envelope(found, folder)
    if earlier is not None and earlier.statement.manifest_sha256 != sha256:
        earlier = None  # what was signed is gone
    said = None if earlier is None else earlier.statement
    statement = Statement(
        name or (said.name if said else str(opened.manifest.get("name", ""))),
        (said.version if said else int(time.time())) if version is None else version,
        sha256,
    )
    if reason := why_no_statement(statement):
        raise SettingsError(reason, "give --name or --version")
    others = earlier.signatures if earlier is not None and said == statement else {}
    public = key.public_key().public_bytes_raw()
    envelope = Envelope(statement, {**others, public: key.sign(message_of(statement))})
    write_file(folder / SIGNATURES, envelope.to_bytes())
    return envelope
