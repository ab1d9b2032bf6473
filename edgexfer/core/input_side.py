"""Input side: how many pixels a network should see of a set of photographs."""

from __future__ import annotations

from collections.abc import Sequence
from statistics import median

NATIVE_SIDE = 224
"""What most backbones were pretrained with, in pixels."""
_STEP = 32
_SMALLEST = 64


def fitting_side(short_sides: Sequence[int], native: int) -> int:
    """Returns the input side that suits photographs: their median short side, but no more than the backbone's own.

    A network gains nothing from pixels that were made up: 100x100 photographs are trained at 96, with a fifth of
    the work that 224 takes.

    Args:
        short_sides: of the photographs, in pixels; for none of them it is `native`.
        native: the backbone's own side.

    Returns:
        A multiple of 32, at least 64, or `native`.
    """
    if not short_sides:
        return native
    return int(min(native, max(_SMALLEST, round(median(short_sides) / _STEP) * _STEP)))
