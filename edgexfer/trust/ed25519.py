"""Checking an Ed25519 signature with the package `cryptography`; an error with the command where that is absent."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from edgexfer.core.errors import MissingPartError

INSTALL = "pip install 'edgexfer[sign]'"


@contextmanager
def needs_cryptography() -> Iterator[None]:
    """Turns "no module named cryptography" into an error that says what to install.

    Raises:
        MissingPartError: it is not installed.
    """
    try:
        yield
    except ModuleNotFoundError as error:
        if error.name is None or error.name.partition(".")[0] != "cryptography":
            raise
        raise MissingPartError("this needs the package 'cryptography', which is not installed", INSTALL) from error


def is_signature(public: bytes, signature: bytes, message: bytes) -> bool:
    """Returns whether `signature` is that of `message` by the owner of the key `public` (32 bytes).

    Raises:
        MissingPartError: `cryptography` is not installed.
    """
    with needs_cryptography():
        from cryptography.exceptions import InvalidSignature
        from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
    try:
        Ed25519PublicKey.from_public_bytes(public).verify(signature, message)
    except (InvalidSignature, ValueError):
        return False
    return True
