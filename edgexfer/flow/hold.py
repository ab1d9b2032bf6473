"""hold: a bundle that was written, and whether its INT8 must give layers back to float before it is measured.

What compress recorded of the validation images decides without cost where INT8 is clearly within the limit; near it
ONNX Runtime is asked, about the same images. Held-out test images have no say: they judge what comes of it.
"""

from __future__ import annotations

from pathlib import Path

from edgexfer.core.bundle import Bundle
from edgexfer.core.errors import DataError
from edgexfer.core.target import PRECISIONS
from edgexfer.gate.measure.evaluate import evaluate
from edgexfer.train.checkpoint import Checkpoint
from edgexfer.train.quantize.accuracy_control import controlled


def misses_limit(quantized: Checkpoint, bundle: Bundle, data: str | Path) -> bool:
    """Whether INT8 loses more top-1 on the validation images than the target allows, and nothing was tried yet.

    Args:
        quantized: the checkpoint that the bundle was made from.
        bundle: with INT8 and a float candidate.
        data: where its validation images are.
    """
    target = bundle.target
    if controlled(quantized, target):
        return False
    found, wanted = quantized.manifest["metrics"]["val"], quantized.manifest["float_metrics"]["val"]
    recorded = wanted["top1"] - found["top1"]
    # The engine rounds in another place than PyTorch's simulation, so that an image may fall to either side.
    if target.allows(recorded + 1 / found["images"]):
        return False
    most_precise = min(bundle.candidates, key=PRECISIONS.index)
    try:
        top1 = {
            name: evaluate(bundle.at(name), data, backend="ort", split="val", partial=True).top1
            for name in ("int8", most_precise)
        }
    except DataError:
        return not target.allows(recorded)
    return not target.allows(top1[most_precise] - top1["int8"])
