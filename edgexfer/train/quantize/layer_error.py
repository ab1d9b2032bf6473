"""Which layer hurts: `layers.json` of a bundle, how far the INT8 network is from the float one, layer by layer.

    {"format_version": 1, "images": 16, "precision": "int8", "reference": "float32",
     "layers": [{"name", "operator", "sqnr_db", "relative_error", "own_sqnr_db", "own_relative_error", "parameters"}]}

Layers are convolutions, Adds and the classifier, in the network's order; each is judged by the tensor that the next
ones read, behind its activation and its quantizer. `sqnr_db` is the signal-to-quantization-noise ratio of that tensor,
10 log10 of the float signal's power over the power of the difference, by which Sheng et al. 2018 ("A Quantization-
Friendly Separable Convolution for MobileNets") found what costs MobileNet its accuracy; null where nothing differs.
`relative_error` is the same as a ratio of amplitudes, 10^(-sqnr_db / 20): 0.1 is 20 dB.

Errors arrive from before and add up along the network, so that the plain figures say what is left of the signal, not
who is to blame. The `own_` ones do: each layer reads there what the float network gives it, and only its own quantizers
are on: those of its weights and of what it writes, and of what it reads only where no layer wrote that (a pool did).
ONNX Runtime's qdq_loss_debug tells the two apart in the same way (`xmodel_err` and `qdq_err`). What training with the
quantizers changed in the weights is part of both.

Files run as they are written, unfused: between fused operators there is nothing to be seen.
"""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import onnxruntime
from numpy.typing import NDArray
from onnx import ModelProto

from edgexfer.train.quantize.layer_pairs import LayerPair, pair_layers

FORMAT_VERSION = 1
_MOST_DB = 150.0
"""What float32 itself rounds off lies about there: nothing above is told apart."""


@dataclass(frozen=True)
class LayerError:
    """One layer of `layers.json`; see the module's docstring.

    Attributes:
        name: of the module in the network, such as "blocks.1.0.conv_dw"; of an Add with ".Add" behind it.
        operator: ONNX's name of it.
        sqnr_db: of what it gives in the INT8 network, in dB, at most 150; higher is better, None where nothing differs.
        relative_error: the same as a ratio of amplitudes.
        own_sqnr_db: with all others in float, in dB, at most 150; None for a layer that is float itself.
        own_relative_error: the same as a ratio of amplitudes.
        parameters: its weights and biases.
    """

    name: str
    operator: str
    sqnr_db: float | None
    relative_error: float
    own_sqnr_db: float | None
    own_relative_error: float
    parameters: int


def layer_errors(reference: ModelProto, quantized: ModelProto, pixels: NDArray[np.uint8]) -> list[LayerError]:
    """Compares the layers of two exports of one network; they correspond by the names of their nodes.

    One image is in memory at a time, with what every layer gives for it three times over.

    Args:
        reference: the float network.
        quantized: the same in 8 bits, as it ships.
        pixels: uint8 [N, H, W, 3].
    """
    probe = pair_layers(reference, quantized)
    given, shipped = _opened(probe.float_model), _opened(probe.quantized_model)
    pairs = probe.pairs
    powers = np.zeros((len(pairs), 3))  # of the signal, of the error, of the layer's own error
    for image in pixels:
        powers += _powers(pairs, _run(given, image), _run(shipped, image))
    return [_error(pair, *row) for pair, row in zip(pairs, powers.tolist(), strict=True)]


def layers_json(errors: Sequence[LayerError], *, images: int, precision: str, reference: str) -> str:
    """Returns the content of `layers.json`.

    Args:
        errors: every layer, in the network's order.
        images: how many were run.
        precision: that of the network that was judged.
        reference: that of the one it was held to.
    """
    content: dict[str, Any] = {
        "format_version": FORMAT_VERSION,
        "images": images,
        "precision": precision,
        "reference": reference,
        "layers": [asdict(error) for error in errors],
    }
    return json.dumps(content, indent=1, ensure_ascii=False) + "\n"


def _opened(model: ModelProto) -> onnxruntime.InferenceSession:
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    return onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])


def _run(session: onnxruntime.InferenceSession, image: NDArray[np.uint8]) -> dict[str, NDArray[Any]]:
    names = [output.name for output in session.get_outputs()]
    return dict(zip(names, session.run(names, {session.get_inputs()[0].name: image[None]}), strict=True))


def _powers(
    pairs: Sequence[LayerPair], given: dict[str, NDArray[Any]], shipped: dict[str, NDArray[Any]]
) -> NDArray[np.float64]:
    """Returns for each layer the power of the signal, of its error and of its own error, float64 [layers, 3]."""
    found = np.empty((len(pairs), 3))
    for index, pair in enumerate(pairs):
        signal = given[pair.reference].astype(np.float32)
        error, own = shipped[pair.quantized] - signal, given[pair.alone] - signal
        found[index] = [float(np.vdot(values, values)) for values in (signal, error, own)]
    return found


def _error(pair: LayerPair, signal: float, error: float, own: float) -> LayerError:
    return LayerError(pair.name, pair.operator, *_figures(signal, error), *_figures(signal, own), pair.parameters)


def _figures(signal: float, noise: float) -> tuple[float | None, float]:
    """Returns the ratio of two powers in dB, and what one amplitude is of the other."""
    if noise == 0:
        return None, 0.0
    ratio = 10 * math.log10(signal / noise) if signal > 0 else -_MOST_DB
    ratio = max(-_MOST_DB, min(_MOST_DB, ratio))
    return round(ratio, 2), float(f"{10 ** (-ratio / 20):.4g}")
