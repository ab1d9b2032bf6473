"""Keys and signed bundles for these tests; they are skipped where `cryptography` is not installed."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

pytest.importorskip("cryptography", reason="cryptography is not installed (pip install 'edgexfer[sign]')")

from edgexfer.trust.private_keys import make_key, read_key
from edgexfer.trust.sign import sign_bundle


def key_at(folder: Path, name: str = "release") -> Path:
    """Makes a key and returns the private one's path; the public one's is `public(path)`."""
    make_key(folder / name)
    return folder / name


def public(key: Path) -> Path:
    """Where the public half lies."""
    return key.with_name(f"{key.name}.pub")


def signed_copy(bundle: Path, place: Path, key: Path, version: int, name: str | None = None) -> Path:
    """Copies a bundle to `place` and signs it there."""
    copy = Path(shutil.copytree(bundle, place))
    sign_bundle(copy, read_key(key), version=version, name=name)
    return copy
