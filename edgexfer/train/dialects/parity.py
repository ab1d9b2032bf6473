"""The bundle's reference answers, and the proof that an ONNX file computes what PyTorch does."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnxruntime
import torch
from numpy.typing import NDArray
from onnx import ModelProto

from edgexfer.core.agreement import agreement
from edgexfer.core.errors import EdgexferError
from edgexfer.train.checkpoint import Checkpoint
from edgexfer.train.deploy import DeployNetwork
from edgexfer.train.finetune import dataset_of
from edgexfer.train.images.pixel_cache import PixelCache
from edgexfer.train.loop.judge import probabilities

REFERENCES = 16
_LOOKED_AT = 128


def reference_pixels(
    checkpoint: Checkpoint, network: DeployNetwork, data: str | Path | None, tolerance: float
) -> NDArray[np.uint8]:
    """Returns 16 held-out images, uint8 [16, H, W, 3]: classes in turn, those with the clearest answers first.

    An answer whose two best classes lie closer than the tolerance proves nothing when it flips; such images are
    not taken while there are others.

    Raises:
        EdgexferError: the images are not where they were.
    """
    root = dataset_of(checkpoint, data).root
    held_out = [row for row in checkpoint.rows if row.split == "test"] or [
        r for r in checkpoint.rows if r.split == "val"
    ]
    order = np.random.default_rng(0).permutation(len(held_out))[:_LOOKED_AT]
    rows = [held_out[i] for i in order]
    with PixelCache(len(rows), checkpoint.preprocess) as cache:
        cache.fill([root / row.path for row in rows])
        answers = probabilities(network, cache, np.arange(len(rows))).numpy()
        best = np.sort(answers, axis=1)
        unclear = best[:, -1] - best[:, -2] <= 2 * tolerance
        turn: dict[str, int] = {}
        rank = []
        for index, row in enumerate(rows):
            turn[row.label] = turn.get(row.label, -1) + 1
            rank.append((bool(unclear[index]), turn[row.label], index))
        chosen = np.array([index for *_, index in sorted(rank)])
        return cache[np.resize(chosen, REFERENCES)]


def answers_of(network: DeployNetwork, pixels: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Returns PyTorch's probabilities for uint8 [N, H, W, 3], float32 [N, classes]."""
    with torch.no_grad():
        planes = torch.from_numpy(pixels).permute(0, 3, 1, 2)
        answers: NDArray[np.float32] = network.eval()(planes).softmax(1).numpy().astype(np.float32)
    return answers


def check_parity(
    model: ModelProto,
    pixels: NDArray[np.uint8] | NDArray[np.float32],
    expected: NDArray[np.float32],
    tolerance: float,
    precision: str,
    as_written: bool = False,
) -> None:
    """Compares ONNX Runtime's answers with PyTorch's on the reference images.

    Args:
        model: the file's content.
        pixels: [16, H, W, 3], in the type that the file reads.
        expected: PyTorch's probabilities, float32 [16, classes].
        tolerance: largest difference of a probability.
        precision: the file's, for the message.
        as_written: whether quantizers run as they stand, which is how another engine's file is simulated
            (edgexfer/backends/ort.py says why).

    Raises:
        EdgexferError: another top-1 where PyTorch's is clear by more than `tolerance`, or a probability that differs
            by more than it.
    """
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    if as_written:
        options.add_session_config_entry("session.disable_quant_qdq", "1")
    session = onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    found = session.run(None, {session.get_inputs()[0].name: pixels})[0]
    seen = agreement(found, expected, tolerance)
    if not seen.holds:
        raise EdgexferError(
            f"the {precision} ONNX file does not compute what PyTorch does: {seen.flipped} of {len(pixels)} reference "
            f"images change class, probabilities differ by up to {seen.difference:.4f} (tolerance {tolerance})",
            "please report this with the backbone's name; until then take another --backbone",
        )
