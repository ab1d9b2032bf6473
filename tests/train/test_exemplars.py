"""What a checkpoint carries to remember by: chosen well, bounded, and readable again."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import safetensors.numpy

from edgexfer.core.errors import ArtifactError
from edgexfer.train.continual import exemplars as module
from edgexfer.train.continual.exemplars import Exemplars, choose_exemplars, herd, parse_exemplars
from edgexfer.train.images.split import SplitRow
from tests.train.tiny import CACHE, IDS, tiny

pytestmark = pytest.mark.train

ROWS = tuple(
    SplitRow(f"{row}", "ab"[kind], ("train", "train", "val", "test")[row % 4], f"{row:064x}")
    for row, kind in enumerate(IDS)
)


def _chosen(per_class: int, earlier: Exemplars | None = None) -> Exemplars:
    chosen = choose_exemplars(tiny(), CACHE, ROWS, IDS, earlier, per_class=per_class)
    assert chosen is not None
    return chosen


def test_the_first_few_stand_for_all() -> None:
    rng = np.random.default_rng(0)
    seen = (rng.normal(0, 1, (60, 12)) + 2).astype(np.float32)
    unit = seen / np.linalg.norm(seen, axis=1, keepdims=True)

    def distance(rows: np.ndarray) -> float:
        return float(np.linalg.norm(unit[rows].mean(axis=0) - unit.mean(axis=0)))

    drawn = herd(seen, 10)
    assert len(set(drawn.tolist())) == 10
    for count in (1, 3, 10):
        by_chance = [distance(rng.permutation(60)[:count]) for _ in range(50)]
        assert distance(drawn[:count]) < np.quantile(by_chance, 0.1)
    assert sorted(herd(seen[:4], 10).tolist()) == [0, 1, 2, 3]


def test_each_class_and_split_has_its_share() -> None:
    chosen = _chosen(6)
    for label in (0, 1):
        own = [int((chosen.class_ids[chosen.of(split)] == label).sum()) for split in ("train", "val", "test")]
        assert own == [6, 3, 3]
    for digest, label, split, pixels in zip(
        chosen.digests(), chosen.class_ids, chosen.splits, chosen.pixels, strict=True
    ):
        row = int(digest, 16)
        assert (IDS[row], ("train", "val", "test").index(ROWS[row].split)) == (label, split)
        assert (CACHE[[row]][0] == pixels).all()
    assert choose_exemplars(tiny(), CACHE, ROWS, IDS, per_class=0) is None


def test_they_stay_within_the_room_there_is(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MOST_BYTES", 2 * 4 * 16 * 16 * 3)  # 4 images for each of two classes
    chosen = _chosen(20)
    assert [len(chosen.of(split)) for split in ("train", "val", "test")] == [4, 2, 2]
    assert chosen.pixels.nbytes == 2 * 4 * 16 * 16 * 3
    monkeypatch.setattr(module, "MOST_BYTES", 1)
    assert [len(_chosen(20).of(split)) for split in ("train", "val", "test")] == [2, 0, 0]


def test_earlier_ones_stay_and_none_is_there_twice() -> None:
    earlier = _chosen(6)
    fresh = Exemplars(earlier.pixels, earlier.class_ids, earlier.splits, earlier.sha256.copy())
    fresh.sha256[:, 0] = 255  # other files
    both = _chosen(12, fresh)
    assert len(both.of("train")) == 2 * 12
    assert any(digest.startswith("ff") for digest in both.digests())
    assert len(set(both.digests())) == len(both)
    again = _chosen(6, earlier)
    assert sorted(again.digests()) == sorted(earlier.digests())


def test_a_damaged_file_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "exemplars.safetensors"
    chosen = _chosen(2)
    safetensors.numpy.save_file(vars(chosen), path)
    assert parse_exemplars(path.read_bytes(), path).digests() == chosen.digests()
    safetensors.numpy.save_file({**vars(chosen), "splits": chosen.splits[:-1].copy()}, path)
    with pytest.raises(ArtifactError, match="different numbers of images"):
        parse_exemplars(path.read_bytes(), path)
    path.write_bytes(b"no tensors")
    with pytest.raises(ArtifactError, match="cannot be read"):
        parse_exemplars(path.read_bytes(), path)
