"""unknown: a bundle of candidates and the images it was made from -> the scores below which an answer is not believed.

Each precision that ships is asked about the validation images, which choose its threshold, and about pictures made of
random numbers, which show whether the threshold is of any use. edgexfer/core/unknown.py has the method and the record.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from edgexfer.core.bundle import Bundle
from edgexfer.core.errors import DataError
from edgexfer.core.unknown import SCORE, images_needed, known_from
from edgexfer.gate.measure.evaluate import evaluate
from edgexfer.gate.measure.evaluation import Evaluation
from edgexfer.gate.measure.measured import Measured
from edgexfer.runtime.classifier import Classifier, load

log = logging.getLogger(__name__)

_PICTURES = 32  # of each kind
_BLOTS = 4  # on a side
_USELESS = 0.5  # called unknown of the pictures made of random numbers: below it, users must know


def find_thresholds(
    bundle: Bundle,
    data: str | Path,
    *,
    names: Sequence[str],
    backend: str,
    share: float,
    measured: Sequence[Measured] = (),
) -> tuple[dict[str, Any] | None, tuple[str, ...]]:
    """Chooses from which score on an image is known, for each precision that ships.

    Args:
        bundle: holds the candidates.
        data: where its validation images are.
        names: the precisions that ship.
        backend: the engine that runs them here.
        share: of the validation images that shall stay known, 0.5 to 1.
        measured: what was measured already; where the validation images judged, they are not asked again.

    Returns:
        The record for the manifest, None where no validation image is in `data`; and what to warn of, in sentences.
    """
    judged = {record.precision: record.evaluation for record in measured}
    precisions: dict[str, Any] = {}
    images = 0
    for name in names:
        found = judged.get(name)
        with load(bundle.at(name), backend=backend) as classifier:
            val = found
            if val is None or not _is_val(val):
                try:
                    val = evaluate(classifier, data, split="val", partial=True)
                except DataError as error:
                    return None, (f"no image will be called unknown: {error.message}",)
            images = len(val.images)
            threshold = known_from(_scores(val), share)
            entry: dict[str, Any] = {"known_from": threshold, "val": _known(_scores(val), threshold)}
            if found is not None and not _is_val(found):
                entry["held_out"] = _known(_scores(found), threshold)
            entry["generated"] = _generated(classifier, threshold)
        precisions[name] = entry
        log.info("%s calls an image unknown below a score of %.1f %%", name, 100 * threshold)
    record = {"score": SCORE, "known_share": share, "images": images, "precisions": precisions}
    return record, _doubts(precisions[names[0]], images, share)


def generated_pictures(height: int, width: int, number: int = _PICTURES) -> dict[str, NDArray[np.uint8]]:
    """Returns pictures that no data set is like, by kind, each uint8 [number, height, width, 3]; always the same.

    noise: each value of its own. flat: one colour. blots: 4 x 4 colours that run into each other.
    """
    random = np.random.default_rng(0)
    noise = random.integers(0, 256, (number, height, width, 3), np.uint8)
    flat = np.broadcast_to(random.integers(0, 256, (number, 1, 1, 3), np.uint8), noise.shape)
    colours = random.integers(0, 256, (number, _BLOTS, _BLOTS, 3), np.uint8)
    blots = [np.asarray(Image.fromarray(few).resize((width, height), Image.Resampling.BICUBIC)) for few in colours]
    return {"noise": noise, "flat": np.ascontiguousarray(flat), "blots": np.stack(blots)}


def _generated(classifier: Classifier, threshold: float) -> dict[str, float]:
    preprocess = classifier.preprocess
    pictures = generated_pictures(preprocess.height, preprocess.width)
    return {kind: 1 - _known(classifier.probabilities(made).max(axis=1), threshold) for kind, made in pictures.items()}


def _doubts(entry: dict[str, Any], images: int, share: float) -> tuple[str, ...]:
    doubts = []
    if images < images_needed(share):
        doubts.append(
            f"{images} validation images cannot promise that {100 * share:g} % of further ones stay known: "
            f"{images_needed(share)} could"
        )
    noticed = float(np.mean(list(entry["generated"].values())))
    if noticed < _USELESS:
        doubts.append(
            f"this network hardly notices what is unlike its images: of pictures made of random numbers it calls "
            f"{100 * noticed:.0f} % unknown"
        )
    return tuple(doubts)


def _is_val(evaluation: Evaluation) -> bool:
    return set(evaluation.roles()) == {"val"}


def _scores(evaluation: Evaluation) -> NDArray[np.float32]:
    return np.array([image.score for image in evaluation.images], np.float32)


def _known(scores: NDArray[np.float32], threshold: float) -> float:
    return float((scores >= np.float32(threshold)).mean())
