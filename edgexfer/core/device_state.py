"""What this device remembers of its own, outside every bundle: its key, and which versions it has accepted.

It lies in EDGEXFER_STATE, or else in `$XDG_STATE_HOME/edgexfer` or `~/.local/state/edgexfer`:

    device.key       32 random bytes, readable by their owner alone; made when the first engine is built
    accepted.json    see edgexfer/trust/accepted.py

With the key the device vouches for what it compiled: `seal` is an HMAC-SHA256 (RFC 2104), so whoever does not have the
key cannot put an engine into a bundle. A bundle that was copied from another device brings no seal of this one.
"""

from __future__ import annotations

import hashlib
import hmac
import os
import secrets
import stat
from pathlib import Path

from edgexfer.core.errors import EdgexferError
from edgexfer.core.files import explained_write

_KEY = "device.key"
_KEY_BYTES = 32
_DOMAIN = b"edgexfer sealed by this device, version 1\0"
_ELSEWHERE = "set EDGEXFER_STATE to a folder that you may write to"


def state_folder() -> Path:
    """Returns the folder, which need not exist."""
    if named := os.environ.get("EDGEXFER_STATE"):
        return Path(named)
    base = os.environ.get("XDG_STATE_HOME", "")
    # The specification says that a relative path there is to be ignored.
    return (Path(base) if base.startswith("/") else Path.home() / ".local" / "state") / "edgexfer"


def make_state_folder() -> Path:
    """Makes the folder, for its owner alone, where it is not there; returns it.

    Raises:
        EdgexferError: it cannot be made.
    """
    folder = state_folder()
    try:
        with explained_write(folder):
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    except EdgexferError as error:
        raise EdgexferError(error.message, _ELSEWHERE) from error
    return folder


def make_device_key() -> None:
    """Makes the key where there is none; of two processes that do so at once, one makes it.

    Raises:
        EdgexferError: it cannot be written, or others can read the one that is there.
    """
    path = make_state_folder() / _KEY
    if not path.exists():
        stage = path.with_name(f".{_KEY}.{secrets.token_hex(4)}.tmp")
        try:
            with explained_write(path):
                descriptor = os.open(stage, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
                with os.fdopen(descriptor, "wb") as file:
                    file.write(secrets.token_bytes(_KEY_BYTES))
                    file.flush()
                    os.fsync(file.fileno())
                _take_place(stage, path)
        except EdgexferError as error:
            raise EdgexferError(error.message, _ELSEWHERE) from error
        finally:
            stage.unlink(missing_ok=True)
    _key()


def seal(purpose: str, data: bytes) -> str | None:
    """Returns this device's seal of `data` as 64 hexadecimal digits; None where the device has no key.

    Args:
        purpose: such as "engine"; a seal holds for one purpose.
        data: what is vouched for.

    Raises:
        EdgexferError: others than its owner can read the key, or it is damaged.
    """
    key = _key()
    return None if key is None else hmac.new(key, _DOMAIN + purpose.encode() + b"\0" + data, hashlib.sha256).hexdigest()


def is_sealed(purpose: str, data: bytes, found: str) -> bool:
    """Returns whether `found` is this device's seal of `data`. Raises as `seal`."""
    expected = seal(purpose, data)
    return expected is not None and hmac.compare_digest(expected.encode(), found.encode("utf-8", "replace"))


def _key() -> bytes | None:
    path = state_folder() / _KEY
    try:
        mode, data = path.stat().st_mode, path.read_bytes()
    except FileNotFoundError:
        return None
    except OSError as error:
        raise EdgexferError(
            f"cannot read {path}: {error.strerror}", "run as its owner, or set EDGEXFER_STATE"
        ) from error
    if os.name == "posix" and stat.S_IMODE(mode) & 0o077:
        raise EdgexferError(f"{path} can be read by others: whoever has it can plant engines", f"chmod 600 {path}")
    if len(data) != _KEY_BYTES:
        raise EdgexferError(f"{path} has {len(data)} bytes, expected {_KEY_BYTES}", f"remove {path}, then build again")
    return data


def _take_place(stage: Path, path: Path) -> None:
    try:
        os.link(stage, path)  # unlike a rename it never replaces the key that another process has just made
    except FileExistsError:
        return
    except OSError:  # a file system without hard links
        if not path.exists():
            stage.replace(path)
