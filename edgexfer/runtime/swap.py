"""What a bundle must pass before it takes the place of one that is serving."""

from __future__ import annotations

import numpy as np

from edgexfer.core.agreement import TOLERANCE, agreement
from edgexfer.core.bundle import Bundle
from edgexfer.core.errors import ArtifactError, BackendError
from edgexfer.runtime.opened import Opened


def check_labels(before: Bundle, new: Bundle) -> None:
    """Raises ArtifactError where the classes are others, or in another order: ids in the application would shift."""
    if new.labels == before.labels:
        return
    gone = [label for label in before.labels if label not in new.labels]
    added = [label for label in new.labels if label not in before.labels]
    found = "; ".join(
        f"{word} {', '.join(map(repr, labels[:8]))}{' and more' if len(labels) > 8 else ''}"
        for word, labels in (("lacks", gone), ("adds", added))
        if labels
    )
    raise ArtifactError(
        f"{new.folder} has other classes than {before.folder}: {found or 'the same in another order'}",
        "swap(bundle, other_labels=True) where the application reads prediction.label and knows the new ones",
    )


def check_answers(opened: Opened) -> None:
    """Compares the answers to the bundle's reference images with those at export.

    One image a call: what is given as a time-out is meant for that.

    Raises:
        BackendError: farther than TOLERANCE, or another class where the exported network was sure.
        EngineTimeoutError: the engine did not answer in time.
    """
    bundle = opened.bundle
    pixels, expected = bundle.references()
    found = np.concatenate([opened.session.run(image[np.newaxis]) for image in pixels])
    seen = agreement(found, expected, TOLERANCE[bundle.precision])
    if not seen.holds:
        raise BackendError(
            f"{bundle.folder} {seen.in_words(len(pixels))}",
            f"look at it with `edgexfer build {bundle.folder} --rebuild`; what was open before goes on serving",
        )
