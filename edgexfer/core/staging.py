"""Where artifacts come to be: folders beside their place, renamed into it when they are whole.

    .NAME.<8 hex digits>.tmp      becomes NAME
    .NAME.<8 hex digits>.scratch  what is needed on the way, removed at the end
    .NAME.<8 hex digits>.new      one of the two above, before it is locked
    .NAME.<8 hex digits>.old      what NAME was, until the new one is in its place

Each is locked by the process that works in it. One that nobody locks is what a killed process left: the next that works
at the same place removes it, and puts an old artifact back whose new one never came.
"""

from __future__ import annotations

import json
import os
import re
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from edgexfer.core.errors import EdgexferError
from edgexfer.core.files import explained_write, lock_folder
from edgexfer.core.replace import remove_tree, replace_folder


@contextmanager
def staged_folder(out: Path, *, overwrite: bool = False) -> Iterator[Path]:
    """Yields an empty folder beside `out`; it becomes `out` when the block ends without an exception.

    On an exception, Ctrl-C included, the folder is removed and `out` is as it was before.

    Args:
        out: where the finished folder shall lie. Parents are created.
        overwrite: replace an older artifact at `out` (it is kept until the new one is whole).

    Raises:
        EdgexferError: `out` exists and may not be replaced, or cannot be written.
    """
    refuse_existing(out, overwrite=overwrite)
    with replaced_folder(out) as stage:
        refuse_existing(out, overwrite=overwrite)  # an old one may have been put back
        yield stage


@contextmanager
def replaced_folder(out: Path) -> Iterator[Path]:
    """As `staged_folder`, for folders that are no artifacts: the caller has made sure that `out` may be replaced.

    Raises:
        EdgexferError: `out` cannot be written.
    """
    with _beside(out, "tmp") as stage:
        yield stage
        old = lock_folder(out, wait=False)  # while it is moved aside nobody may take it for a leftover
        try:
            replace_folder(stage, out)
        finally:
            if old is not None:
                os.close(old)


@contextmanager
def scratch_folder(out: Path) -> Iterator[Path]:
    """Yields an empty folder on the disk of `out`, for what is needed until `out` is there; it is removed at the end.

    Raises:
        EdgexferError: nothing can be written there.
    """
    with _beside(out, "scratch") as folder:
        yield folder


def refuse_existing(out: Path, *, overwrite: bool) -> None:
    """Raises EdgexferError where `out` exists, unless it is an artifact and `overwrite` is wanted."""
    if not out.exists():
        return
    artifact = _is_artifact(out)
    if not (overwrite and artifact):
        mend = "choose another place with --out"
        if artifact:
            raise EdgexferError(f"{out} exists already", f"{mend}, or replace it with --overwrite")
        raise EdgexferError(f"{out} exists already and is neither a checkpoint nor a bundle", mend)


def _is_artifact(folder: Path) -> bool:
    # A mistyped --out must not cost the user's photographs.
    try:
        manifest = json.loads((folder / "manifest.json").read_bytes())
    except (OSError, ValueError, RecursionError):
        return False
    return isinstance(manifest, dict) and manifest.get("kind") in ("checkpoint", "bundle")


@contextmanager
def _beside(out: Path, kind: str) -> Iterator[Path]:
    with explained_write(out):
        out.parent.mkdir(parents=True, exist_ok=True)
        remove_leftovers(out)
        folder, descriptor = _made_locked(out, kind)
        try:
            yield folder
        finally:
            remove_tree(folder)
            if descriptor is not None:
                os.close(descriptor)


def _made_locked(out: Path, kind: str) -> tuple[Path, int | None]:
    while True:
        name = f".{out.name}.{secrets.token_hex(4)}"
        folder, unlocked = out.with_name(f"{name}.{kind}"), out.with_name(f"{name}.new")
        unlocked.mkdir()
        descriptor = None
        try:
            descriptor = lock_folder(unlocked)
            # Under its name it is locked from the first moment on; the lock goes with the folder.
            unlocked.rename(folder)
        except BaseException as error:
            remove_tree(unlocked)
            if descriptor is not None:
                os.close(descriptor)
            if not isinstance(error, FileNotFoundError):  # else another process took it for a leftover
                raise
        else:
            return folder, descriptor


def remove_leftovers(out: Path) -> None:
    """Removes what killed processes left beside `out`; puts an old artifact back whose new one never came."""
    ours = re.compile(rf"\.{re.escape(out.name)}\.[0-9a-f]{{8}}\.(tmp|scratch|old|new)")
    if not out.parent.is_dir():
        return
    for path in sorted(out.parent.iterdir()):
        if not ours.fullmatch(path.name) or not path.is_dir():
            continue
        descriptor = lock_folder(path, wait=False)
        if descriptor is None:
            continue
        try:
            if path.suffix == ".old" and not out.exists():
                path.rename(out)
            else:
                remove_tree(path)
        finally:
            os.close(descriptor)


def remove_at_once(folder: Path, out: Path) -> None:
    """Removes a folder beside `out`, which is whole or gone at every moment: it is renamed to a leftover first."""
    gone = out.with_name(f".{out.name}.{secrets.token_hex(4)}.tmp")
    try:
        folder.rename(gone)
    except OSError:
        gone = folder
    remove_tree(gone)
