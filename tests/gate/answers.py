"""Evaluations that were never measured: answers to made-up images, for what judges them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np

from edgexfer.core.files import sha256_of_bytes
from edgexfer.gate.measure.evaluation import Evaluation, ImageResult
from edgexfer.gate.measure.record import Subject

LABELS = ("go", "left", "stop")


def evaluation(
    truth: Sequence[int],
    predicted: Sequence[int],
    *,
    labels: Sequence[str] = LABELS,
    scores: Sequence[float] | None = None,
    names: Sequence[str] | None = None,
    digits: int = 64,
    bundle: str = "new",
) -> Evaluation:
    """Makes an Evaluation; `names` say which images they are, and `digits` how much of each SHA-256 is known."""
    names = [f"{number}.png" for number in range(len(truth))] if names is None else names
    scores = [0.9] * len(truth) if scores is None else scores
    images = tuple(
        ImageResult(
            path=f"{labels[true]}/{name}",
            sha256=sha256_of_bytes(name.encode())[:digits],
            role="test",
            label=labels[true],
            predicted=labels[said],
            score=float(score),
            score_label=float(score) if true == said else (1 - float(score)) / 2,
        )
        for name, true, said, score in zip(names, truth, predicted, scores, strict=True)
    )
    subject = Subject(bundle, "0" * 64, "int8", "test", "ort", "ONNX Runtime 1.20", simulated=False)
    return Evaluation(subject, "data", tuple(labels), images)


def with_mistakes(images: int, lost: Iterable[int], classes: int = 3) -> list[int]:
    """Returns the right answers to images 0, 1, ... of class 0, 1, ..., except those at `lost`, which are one off."""
    wrong = set(lost)
    return [(number + (number in wrong)) % classes for number in range(images)]


def truth(images: int, classes: int = 3) -> list[int]:
    """Returns the true classes that `with_mistakes` begins from."""
    return (np.arange(images) % classes).tolist()
