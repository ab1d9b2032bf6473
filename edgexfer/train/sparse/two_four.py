"""2:4: of every four input channels in a row at most two weights are not zero, for each output and kernel position.

This is what the sparse tensor cores of NVIDIA's GPUs from compute capability 8.0 on skip (Mishra et al. 2021,
"Accelerating Sparse Deep Neural Networks", arXiv:2104.08378), in the layout that TensorRT asks for (developer guide,
"Sparsity": weights [K, C, R, S] with C a multiple of 4, groups of four along C; of matrix products along the inner
axis). The eligible layers are those that NVIDIA's Polygraphy finds (tools/sparse.py): convolutions and matrix products
whose axis 1 is a multiple of 4. That leaves out depthwise layers (C is 1) and a first layer that reads three colours.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

GROUP, KEPT = 4, 2
Weights = NDArray[np.float32] | NDArray[np.int8]


def is_eligible(shape: tuple[int, ...]) -> bool:
    """Whether an engine can skip zeros of weights of this shape, [outputs, inputs of a group, ...]."""
    return len(shape) in (2, 4) and shape[1] % GROUP == 0


def two_of_four(weights: NDArray[np.float32]) -> NDArray[np.bool_]:
    """Returns which weights stay: the two largest of every four input channels in a row.

    Args:
        weights: float32 [outputs, inputs, ...] of an eligible layer.

    Returns:
        bool, of the same shape; of equals the first stay.
    """
    grouped = _grouped(weights)
    order = np.argsort(-np.abs(grouped), axis=2, kind="stable")
    kept = np.zeros(grouped.shape, np.bool_)
    np.put_along_axis(kept, order[:, :, :KEPT], values=True, axis=2)
    return kept.reshape(weights.shape)


def broken_groups(weights: Weights) -> tuple[int, int]:
    """Returns how many groups of four hold more than two weights that are not zero, and how many groups there are.

    Args:
        weights: [outputs, inputs, ...] of an eligible layer, in float or int8.
    """
    left = (_grouped(weights) != 0).sum(axis=2)
    return int((left > KEPT).sum()), int(left.size)


def _grouped(weights: Weights) -> Weights:
    return weights.reshape(weights.shape[0], weights.shape[1] // GROUP, GROUP, -1)
