"""Which images of the domain it was adapted to a checkpoint's quantizers learn on: none that judges it."""

from __future__ import annotations

import io
import logging
import shutil
from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest
from PIL import Image

from edgexfer.core.files import sha256_of_file
from edgexfer.train.backbones import DEFAULT, find_backbone
from edgexfer.train.checkpoint import Checkpoint
from edgexfer.train.images.prepared import Prepared
from edgexfer.train.images.split import SplitRow
from edgexfer.train.quantize.learning_images import learning_images
from tests.images import put
from tests.train.pictures import png, stripes
from tests.train.tiny import CACHE, IDS, VAL, tiny

pytestmark = pytest.mark.train

ROWS = tuple(
    SplitRow(f"{row}", "ab"[kind], "val" if row in VAL else "train", f"{row:064x}") for row, kind in enumerate(IDS)
)


@pytest.fixture
def domain(tmp_path: Path) -> Path:
    """Ten images of another domain."""
    for number in range(10):
        put(tmp_path / "domain" / f"{number}.png", png(stripes(number % 2, 100 + number, side=16)))
    return tmp_path / "domain"


def _adapted(domain: Path, target_val: Path | None = None, rows: tuple[SplitRow, ...] = ROWS) -> Checkpoint:
    manifest: dict[str, Any] = {
        "files": {},
        "settings": {"target_val": target_val and str(target_val)},
        "strategy_notes": {"adapt": {"adapted_by": "statistics"}},
        "unlabeled": str(domain),
    }
    return Checkpoint(domain.with_name("run"), manifest, ("a", "b"), CACHE.preprocess, find_backbone(DEFAULT), rows)


def _learned_from(checkpoint: Checkpoint) -> set[str]:
    """The SHA-256 of every image of the domain that joins the checkpoint's own."""
    prepared = Prepared(("a", "b"), checkpoint.rows, IDS, CACHE, cast("Any", None))
    with learning_images(checkpoint, tiny(), prepared) as images:
        assert images.rows[: len(ROWS)] == checkpoint.rows
        assert len(images.cache) == len(images.class_ids) == len(images.rows)
        np.testing.assert_array_equal(images.cache[np.arange(len(ROWS))], CACHE[np.arange(len(ROWS))])
        return {row.sha256 for row in images.rows[len(ROWS) :]}


def test_images_of_the_domain_join(domain: Path) -> None:
    assert _learned_from(_adapted(domain)) == {sha256_of_file(path) for path in domain.iterdir()}


def test_what_judges_is_never_learned_from(domain: Path, tmp_path: Path) -> None:
    for number in range(3):
        shutil.copyfile(domain / f"{number}.png", put(tmp_path / "judging" / "ab"[number % 2] / f"{number}.png", b""))
    saved_anew = io.BytesIO()
    Image.open(domain / "3.png").save(saved_anew, "BMP")
    put(tmp_path / "judging" / "b" / "another-name.bmp", saved_anew.getvalue())
    learned = _learned_from(_adapted(domain, tmp_path / "judging"))
    assert learned == {sha256_of_file(domain / f"{number}.png") for number in range(4, 10)}


def test_where_what_judged_is_gone_none_of_the_domain_is_learned_from(
    domain: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.WARNING, "edgexfer")
    assert _learned_from(_adapted(domain, tmp_path / "gone")) == set()
    assert "learn without images of the domain" in caplog.text
    assert "gone does not exist" in caplog.text


def test_images_that_are_all_in_data_join_nothing(domain: Path, caplog: pytest.LogCaptureFixture) -> None:
    digests = [sha256_of_file(path) for path in sorted(domain.iterdir())]
    rows = tuple(SplitRow(row.path, row.label, row.split, digests[place % 10]) for place, row in enumerate(ROWS))
    put(domain / "broken.png", b"no image")
    caplog.set_level(logging.WARNING, "edgexfer")
    assert _learned_from(_adapted(domain, rows=rows)) == set()
    assert "learn without images of the domain" in caplog.text
