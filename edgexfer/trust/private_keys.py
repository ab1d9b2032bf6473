"""Private keys: made, written so that nobody else can read them, and read where nobody else could.

FILE holds the private key in OpenSSH's form or in PEM (PKCS 8), FILE.pub the public one as a line for trust files.
"""

from __future__ import annotations

import getpass
import os
import socket
import stat
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from edgexfer.core.errors import EdgexferError, MissingPartError, SettingsError
from edgexfer.core.files import explained_write, write_file
from edgexfer.trust.ed25519 import INSTALL, needs_cryptography
from edgexfer.trust.public_keys import public_line

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

_MOST_BYTES = 64 << 10
_MAKE = "make one with `edgexfer keygen FILE`"


def make_key(path: Path, *, form: Literal["openssh", "pem"] = "openssh", passphrase: str | None = None) -> Path:
    """Makes a key and writes it to `path`, which only its owner can read, and its public half to `path`.pub.

    Args:
        path: where no file is yet.
        form: of the private key.
        passphrase: that it is encrypted with; None for a key that is not.

    Returns:
        The path of the public key.

    Raises:
        EdgexferError: one of the two files is there already, or cannot be written.
        MissingPartError: `cryptography` is not installed, or `bcrypt`, which encrypted keys in OpenSSH's form need.
    """
    with needs_cryptography():
        from cryptography.exceptions import UnsupportedAlgorithm
        from cryptography.hazmat.primitives import serialization
        from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
    public_path = path.with_name(f"{path.name}.pub")
    for place in (path, public_path):
        if os.path.lexists(place):
            raise EdgexferError(f"{place} exists already, and a key is not replaced", "choose another name")
    key = Ed25519PrivateKey.generate()
    formats = {"openssh": serialization.PrivateFormat.OpenSSH, "pem": serialization.PrivateFormat.PKCS8}
    protection: serialization.KeySerializationEncryption = serialization.NoEncryption()
    if passphrase is not None:
        protection = serialization.BestAvailableEncryption(passphrase.encode())
    try:
        data = key.private_bytes(serialization.Encoding.PEM, formats[form], protection)
    except UnsupportedAlgorithm as error:
        raise MissingPartError("encrypted keys in OpenSSH's form need the package 'bcrypt'", INSTALL) from error
    with explained_write(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
            file.write(data)
    comment = f"{getpass.getuser()}@{socket.gethostname()}"
    write_file(public_path, public_line(key.public_key().public_bytes_raw(), comment) + "\n")
    return public_path


def read_key(path: Path, ask: Callable[[], str] | None = None) -> Ed25519PrivateKey:
    """Reads a private key in OpenSSH's form or in PEM.

    Args:
        path: that only its owner can read.
        ask: returns the passphrase; called where the key is encrypted.

    Raises:
        SettingsError: it cannot be read, is no Ed25519 key, or the passphrase is missing or wrong.
        EdgexferError: others can read it.
        MissingPartError: `cryptography` is not installed, or `bcrypt`, which encrypted keys in OpenSSH's form need.
    """
    with needs_cryptography():
        from cryptography.exceptions import UnsupportedAlgorithm
        from cryptography.hazmat.primitives import serialization
        from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
    data = _read(path)
    openssh = b"BEGIN OPENSSH PRIVATE KEY" in data
    load = serialization.load_ssh_private_key if openssh else serialization.load_pem_private_key
    try:
        try:
            key = load(data, None)
        except TypeError as error:  # it is encrypted
            if ask is None:
                raise SettingsError(f"{path} is encrypted", "give its passphrase") from error
            key = load(data, ask().encode())
    except UnsupportedAlgorithm as error:
        raise MissingPartError(f"{path} cannot be read: {error}", INSTALL) from error
    except ValueError as error:
        if isinstance(error, EdgexferError):
            raise
        raise SettingsError(f"{path} is no private key, or its passphrase is another one", _MAKE) from error
    if not isinstance(key, Ed25519PrivateKey):
        raise SettingsError(f"{path} is no Ed25519 key", _MAKE)
    return key


def _read(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            mode, data = os.fstat(file.fileno()).st_mode, file.read(_MOST_BYTES)
    except OSError as error:
        raise SettingsError(f"cannot read the key {path}: {error.strerror}", _MAKE) from error
    if os.name == "posix" and stat.S_ISREG(mode) and stat.S_IMODE(mode) & 0o077:
        raise EdgexferError(
            f"the key {path} can be read by others (its mode is {stat.S_IMODE(mode):04o}), who could then sign as you",
            f"chmod 600 {path}, or make another one if it may have been read",
        )
    return data
