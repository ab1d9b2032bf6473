"""Prediction: what the network says about one image."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, slots=True)
class Prediction:
    """The probabilities of one image.

    Attributes:
        probabilities: float32 [classes], 0 to 1, summing to 1.
        labels: class names in the same order.
        known_from: the score below which an image is unknown (edgexfer/core/unknown.py); None where nothing is.
    """

    probabilities: NDArray[np.float32]
    labels: tuple[str, ...]
    known_from: float | None = None

    @property
    def index(self) -> int:
        """Class id of the most probable class, 0-based."""
        return int(self.probabilities.argmax())

    @property
    def label(self) -> str:
        """Name of the most probable class."""
        return self.labels[self.index]

    @property
    def score(self) -> float:
        """Probability of the most probable class, 0 to 1."""
        return float(self.probabilities.max())

    @property
    def unknown(self) -> bool:
        """Whether the image is unlike those that the network was trained with, as far as its score can tell.

        Always False where the bundle has no threshold. `label` is what the network would say all the same.
        """
        return self.known_from is not None and not self.score >= self.known_from  # a nan is not known either

    def top(self, k: int) -> list[tuple[str, float]]:
        """Returns the `k` most probable (label, score), best first; all of them where there are fewer."""
        order = np.argsort(-self.probabilities, kind="stable")[:k]
        return [(self.labels[i], float(self.probabilities[i])) for i in order]

    def __repr__(self) -> str:
        return f"Prediction(label={self.label!r}, score={self.score:.4f}{', unknown' if self.unknown else ''})"
