"""Puts engines where edgexfer/core/engines.py finds them: whole or absent, also by several processes at once.

Beside the engines lies `timing-<16 digits>.cache`: what the builder measured of its kernels, so that the next build of
a similar network takes seconds. It is named after engine version, device and compute capability; its first
line is this device's seal of the rest, and where they do not match it is not used.
"""

from __future__ import annotations

import errno
import json
import logging
import re
import secrets
import shutil
from pathlib import Path

from edgexfer.core.bundle import ENGINES, Bundle
from edgexfer.core.device_state import is_sealed, make_device_key, seal
from edgexfer.core.engines import ENGINE, LOCK_S, EngineKey, check_engine, key_of, write_seal
from edgexfer.core.errors import ArtifactError
from edgexfer.core.files import explained_write, locked_folder, sha256_of_bytes, write_file
from edgexfer.core.manifest import MANIFEST, MOST_MANIFEST_BYTES, write_manifest
from edgexfer.core.plain_files import read_plain
from edgexfer.core.replace import replace_folder, sync_folder, sync_tree

_CACHE_SEALED_AS = "timing cache"
_MOST_CACHE_BYTES = 1 << 30

log = logging.getLogger(__name__)


def check_writable(bundle: Bundle) -> None:
    """Makes the folder of the engines and writes into it: a build takes minutes and shall not fail at its end.

    The device's key, with which it vouches for them, is made here too.

    Raises:
        EdgexferError: it cannot be written.
    """
    engines = bundle.folder / ENGINES
    probe = engines / f".{secrets.token_hex(4)}.tmp"
    with explained_write(engines):
        engines.mkdir(exist_ok=True)
        probe.touch()
        probe.unlink(missing_ok=True)
    make_device_key()


def store_engine(bundle: Bundle, key: EngineKey, data: bytes, *, build_seconds: float, replace: bool = False) -> Path:
    """Writes an engine into the bundle and removes what it replaces; returns its folder.

    Where another process stored one for the same key meanwhile, that one stays and `data` is dropped.
    On an exception, Ctrl-C included, the engines are as they were before.

    Args:
        bundle: that the engine was built from.
        key: of the engine.
        data: the compiled network.
        build_seconds: how long building took.
        replace: take the place of an engine that is there for this key, sound or not.

    Raises:
        EdgexferError: the bundle's folder cannot be written.
    """
    out = bundle.folder / ENGINES / key.digest
    with explained_write(out):
        out.parent.mkdir(exist_ok=True)
        with locked_folder(out.parent, wait_s=LOCK_S) as locked:
            if not replace and _is_sound(bundle, key):
                return out
            stage = out.with_name(f".{out.name}.{secrets.token_hex(4)}.tmp")
            stage.mkdir()
            try:
                (stage / ENGINE).write_bytes(data)
                write_manifest(stage, "engine", {"key": key.to_json(), "build_seconds": round(build_seconds, 3)})
                make_device_key()
                write_seal(stage)
                _move_in(stage, out, bundle, key, replace=replace)
            finally:
                shutil.rmtree(stage, ignore_errors=True)
            if locked:
                _remove_stale(out.parent, key)
    return out


def tidy_engines(bundle: Bundle, key: EngineKey) -> None:
    """Removes what `key`'s engine has replaced, and leftovers of processes that were killed; as far as it may."""
    with locked_folder(bundle.folder / ENGINES, wait_s=LOCK_S) as locked:
        if locked:
            _remove_stale(bundle.folder / ENGINES, key)


def remove_engine(folder: Path) -> None:
    """Removes an engine that nobody will open; as far as it may."""
    with locked_folder(folder.parent, wait_s=LOCK_S):
        shutil.rmtree(folder, ignore_errors=True)


def read_timing_cache(bundle: Bundle, key: EngineKey) -> bytes | None:
    """Returns what the builder measured on this machine, None where there is nothing or it is damaged."""
    path = bundle.folder / ENGINES / _timing_cache(key)
    try:
        found, _, data = read_plain(path, _MOST_CACHE_BYTES).partition(b"\n")
    except (OSError, ValueError):
        return None
    if not is_sealed(_CACHE_SEALED_AS, data, found.decode("ascii", "replace")):
        log.warning("%s is damaged, or of another device, and is made anew", path)
        return None
    return data


def write_timing_cache(bundle: Bundle, key: EngineKey, data: bytes) -> None:
    """Keeps what the builder measured, for the next build on this machine.

    Raises:
        EdgexferError: the bundle's folder cannot be written.
    """
    path = bundle.folder / ENGINES / _timing_cache(key)
    make_device_key()
    with locked_folder(path.parent, wait_s=LOCK_S):
        write_file(path, f"{seal(_CACHE_SEALED_AS, data)}\n".encode() + data)


def _timing_cache(key: EngineKey) -> str:
    machine = json.dumps([key.engine, key.device, key.compute_capability])
    return f"timing-{sha256_of_bytes(machine.encode())[:16]}.cache"


def _move_in(stage: Path, out: Path, bundle: Bundle, key: EngineKey, *, replace: bool) -> None:
    if not replace:
        sync_tree(stage)
        try:
            stage.rename(out)
        except OSError as error:
            if error.errno not in (errno.ENOTEMPTY, errno.EEXIST):
                raise
            if _is_sound(bundle, key):  # where there are no locks another process may be quicker by this moment
                return
        else:
            sync_folder(out.parent)
            return
    replace_folder(stage, out)


def _is_sound(bundle: Bundle, key: EngineKey) -> bool:
    try:
        return check_engine(bundle, key) is not None
    except ArtifactError:
        return False


def _remove_stale(engines: Path, key: EngineKey) -> None:
    # Whoever writes here holds the lock while there is anything temporary: what is temporary now is a leftover.
    for path in sorted(engines.iterdir()):
        leftover = path.name.startswith(".") and path.suffix in (".tmp", ".old")
        if leftover or (path.name not in (key.digest, _timing_cache(key)) and _is_stale(path, key)):
            log.debug("removing %s", path)
            if path.is_dir() and not path.is_symlink():
                shutil.rmtree(path, ignore_errors=True)
            elif leftover or path.suffix == ".cache":
                _unlink(path)


def _is_stale(path: Path, key: EngineKey) -> bool:
    if re.fullmatch(r"timing-[0-9a-f]{16}\.cache", path.name):
        return True
    if not re.fullmatch(r"[0-9a-f]{64}", path.name):
        return False  # not ours
    try:
        manifest = json.loads(read_plain(path / MANIFEST, MOST_MANIFEST_BYTES))
    except (OSError, ValueError, RecursionError):
        return True
    found = key_of(manifest) if isinstance(manifest, dict) else None
    return found is None or found.precision == key.precision


def _unlink(path: Path) -> None:
    try:
        path.unlink()
    except OSError as error:
        log.debug("%s stays: %s", path, error)
