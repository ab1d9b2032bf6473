"""Verify: is this bundle signed by somebody whom this device trusts, and is it no older than what it has opened?"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from edgexfer.core.bundle import Bundle
from edgexfer.core.errors import ArtifactError
from edgexfer.core.files import sha256_of_bytes
from edgexfer.core.manifest import parse_manifest
from edgexfer.core.packed import read_beside_manifest
from edgexfer.trust.accepted import accept, why_not_newer
from edgexfer.trust.public_keys import Trust, TrustedKey, fingerprint, read_trust
from edgexfer.trust.statement import Envelope, Statement, read_envelope

_SIGN = "have it signed: `edgexfer sign BUNDLE --key FILE`"


@dataclass(frozen=True)
class Signed:
    """A manifest that somebody trusted has signed. The files that it lists are for `open_bundle` to check.

    Attributes:
        place: the bundle, named in errors.
        statement: what was signed.
        digest: of the manifest that was signed, see `Bundle.digest`.
        by: the trusted keys whose signatures it has; one or more.
    """

    place: Path
    statement: Statement
    digest: str
    by: tuple[TrustedKey, ...]

    def check_is(self, bundle: Bundle) -> None:
        """Raises ArtifactError where `bundle` is not what was signed: it was replaced between the two readings."""
        if bundle.digest != self.digest:
            raise ArtifactError(f"{self.place} was changed while it was opened", "open it again")

    def accept(self) -> None:
        """Remembers that this device has opened it: from now on it opens none older of that name.

        Raises:
            ArtifactError: another process has opened a newer one meanwhile.
            EdgexferError: the device's state cannot be written.
        """
        accept(self.statement)


def signatures_of(place: Path) -> tuple[Envelope, str] | None:
    """Returns who signed a bundle, whoever that is, and the digest of its manifest; None where nobody did.

    Args:
        place: folder or archive.

    Raises:
        ArtifactError: the signatures are damaged or of another manifest, one is not right, or the manifest is none.
        MissingPartError: `cryptography` is not installed.
    """
    manifest, signatures = read_beside_manifest(place)
    if signatures is None:
        return None
    envelope = read_envelope(signatures, place)
    if sha256_of_bytes(manifest) != envelope.statement.manifest_sha256:
        raise ArtifactError(f"{place} was changed after it was signed", "copy it again from where it was signed")
    return envelope, str(parse_manifest(manifest, place / "manifest.json", "bundle")["digest"])


def check_signed(place: Path, trust: Trust) -> Signed:
    """Checks the signatures of a bundle before anything else of it is read.

    Args:
        place: folder or archive.
        trust: whom this device believes.

    Raises:
        ArtifactError: unsigned, signed by others, altered, or older than what this device has opened under that name.
        SettingsError: `trust` cannot be read.
        MissingPartError: `cryptography` is not installed.
    """
    trusted = read_trust(trust)
    if not place.exists():
        raise ArtifactError(f"bundle {place} does not exist", "a bundle is made by `edgexfer export RUN --target NAME`")
    found = signatures_of(place)
    if found is None:
        raise ArtifactError(f"{place} is not signed", _SIGN)
    envelope, digest = found
    statement = envelope.statement
    by = tuple(key for key in trusted if key.public in envelope.signatures)
    if not by:
        names = ", ".join(map(fingerprint, envelope.signatures))
        raise ArtifactError(f"{place} is signed by {names}, whom the trust file does not name", _SIGN)
    if not (by := tuple(key for key in by if key.may_sign(statement.name))):
        raise ArtifactError(f"{place} is signed as '{statement.name}' by a key that is trusted for other names", _SIGN)
    if reason := why_not_newer(statement):
        raise ArtifactError(f"{place} is refused: {reason}", "install the newer one")
    return Signed(place, statement, digest, by)
