"""The division of a study: which image trains, validates and tests, decided once for all of its trials.

Near-duplicates stay in one split, and JPEGs are judged as they are decoded for a network's input size: at another size
two images may just be alike, or just not. So the first worker divides the images at the size that suits them, and every
trial keeps to that. The study has it in parts, since a database may hold no more than 64 KiB in a text (MySQL).
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import islice
from typing import TYPE_CHECKING

from edgexfer.core.dataset import Dataset
from edgexfer.core.preprocess import Preprocess
from edgexfer.train.images.prepared import prepare
from edgexfer.train.settings import FinetuneSettings

if TYPE_CHECKING:
    from optuna import Study

PARTS = "division"
_A_PART = 500  # images: 40 KiB of JSON


def division_of(
    study: Study,
    dataset: Dataset,
    settings: FinetuneSettings,
    side: int,
    progress: Callable[[int, int], None] | None = None,
) -> dict[str, str]:
    """Returns the split of every image by its SHA-256, and decides it where no worker has yet.

    Empty where the user has divided the images, or chance does without regard to what they show: then every trial
    divides them alike by itself.

    Args:
        study: the study.
        dataset: the images, as read.
        settings: what is the same for all trials.
        side: of the square at which images are compared, in pixels.
        progress: called with (done, all) while images are read.

    Raises:
        DataError: the images cannot be trained on.
    """
    if "val" in dataset.splits() or settings.near_duplicates == "apart":
        return {}
    if PARTS not in study.user_attrs:
        _keep(study, _divided(dataset, settings, side, progress))
    kept = study.user_attrs
    return {digest: split for part in range(kept[PARTS]) for digest, split in kept[f"{PARTS}:{part}"].items()}


def _divided(
    dataset: Dataset, settings: FinetuneSettings, side: int, progress: Callable[[int, int], None] | None
) -> dict[str, str]:
    prepared = prepare(
        dataset,
        Preprocess(side, side, resize=settings.resize),
        seed=settings.seed,
        strict=settings.strict,
        progress=progress,
        near_duplicates=settings.near_duplicates,
    )
    prepared.cache.close()
    return {row.sha256: row.split for row in prepared.rows}


def _keep(study: Study, division: dict[str, str]) -> None:
    images, parts = iter(division.items()), 0
    while part := dict(islice(images, _A_PART)):
        study.set_user_attr(f"{PARTS}:{parts}", part)
        parts += 1
    study.set_user_attr(PARTS, parts)  # last: with it the division is whole
