"""One byte changed anywhere in a bundle, 200 times: refused every time."""

from __future__ import annotations

import random
import shutil
from pathlib import Path

import pytest

from edgexfer.core.bundle import open_bundle
from edgexfer.core.errors import EdgexferError

SEEDS = 200


def test_one_changed_byte_is_refused(bundle_folder: Path) -> None:
    files = sorted(path for path in bundle_folder.rglob("*") if path.is_file())
    sizes = [path.stat().st_size for path in files]
    for seed in range(SEEDS):
        dice = random.Random(seed)
        # Half of them by size, as chance would have it; else every file alike, and its spaces above all.
        path = dice.choices(files, sizes if seed % 2 else None)[0]
        kept = path.read_bytes()
        place = dice.randrange(len(kept))
        byte = (
            dice.choice([b for b in b" \t\n\r" if b != kept[place]])
            if seed % 4 == 0
            else kept[place] ^ dice.randint(1, 255)
        )
        path.write_bytes(kept[:place] + bytes([byte]) + kept[place + 1 :])
        with pytest.raises(EdgexferError):
            open_bundle(bundle_folder)
        path.write_bytes(kept)
    assert open_bundle(bundle_folder).labels == ("a", "b", "c")


def test_a_file_more_or_less_is_told(bundle_folder: Path, tmp_path: Path) -> None:
    for name in ("model.onnx", "reference.npz", "split.csv", "manifest.json"):
        copy = Path(shutil.copytree(bundle_folder, tmp_path / f"without-{name}"))
        (copy / name).unlink()
        with pytest.raises(EdgexferError):
            open_bundle(copy)
