"""Agreement of two answers to the same images: what export and the device both hold an ONNX file or engine to."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

TOLERANCE = {"float32": 0.01, "float16": 0.03, "int8-depthwise-float16": 0.15, "int8": 0.15}
"""Largest difference of a probability between an engine and the exported network. Engines add in another order, take
TF32 for float32, and round once in INT8 where the simulation rounds twice."""


@dataclass(frozen=True)
class Agreement:
    """How far found probabilities lie from the expected ones.

    Attributes:
        flipped: images whose class is another one although the expected answer was clear by more than the tolerance.
        difference: largest difference of a probability; nan where one that was found is no number.
        tolerance: that `difference` may reach.
    """

    flipped: int
    difference: float
    tolerance: float

    @property
    def holds(self) -> bool:
        """Whether no clear class flipped and no probability differs by more than the tolerance."""
        return self.flipped == 0 and self.difference <= self.tolerance  # a nan is no agreement either

    def in_words(self, images: int) -> str:
        """Returns what is wrong where it does not hold, to be put after the name of what answered `images` images."""
        return (
            f"does not answer here as it did at export: {self.flipped} of {images} reference images change class, "
            f"probabilities differ by up to {self.difference:.4f}, expected {self.tolerance} at most"
        )


def agreement(found: NDArray[np.float32], expected: NDArray[np.float32], tolerance: float) -> Agreement:
    """Compares probabilities, both float32 [N, classes]."""
    best = np.sort(expected, axis=1)
    clear = best[:, -1] - best[:, -2] > tolerance  # a draw proves nothing, whoever wins it
    flipped = int(((found.argmax(1) != expected.argmax(1)) & clear).sum())
    return Agreement(flipped, float(np.abs(found - expected).max()), tolerance)
