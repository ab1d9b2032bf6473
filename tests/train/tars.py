"""Tars of small pictures, as WebDataset has them."""

from __future__ import annotations

import io
import tarfile
from pathlib import Path

from tests.train.pictures import png, stripes


def tar_of(path: Path, members: dict[str, bytes]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(path, "w") as tar:
        for name, data in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))
    return path


def shards(root: Path, count: int = 4, images: int = 15) -> Path:
    """Tars of two classes of stripes, 16 pixels; class 1 has a name in labels.txt, class 0 has none."""
    for shard in range(count):
        members = {}
        for number in range(images):
            kind = number % 2
            members[f"{number:03}.png"] = png(stripes(kind, 1000 * shard + number, side=16, noise=5.0))
            members[f"{number:03}.cls"] = str(kind).encode()
        tar_of(root / f"part-{shard:02}.tar", members)
    (root / "labels.txt").write_text("\nstriped\n")
    return root / f"part-{{00..{count - 1:02}}}.tar"
