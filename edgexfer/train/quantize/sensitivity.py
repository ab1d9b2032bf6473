"""How much the answers of a network change where one layer alone computes in 8 bits.

Wu et al. 2020 ("Integer Quantization for Deep Learning Inference: Principles and Empirical Evaluation", section 5.1)
rank layers so before they leave the most sensitive ones in float. They compare accuracy; here it is the divergence of
the probabilities, which a few dozen images tell and which needs no labels. NNCF's quantize_with_accuracy_control turns
it around and reverts one layer at a time: where two layers are broken, neither then looks any better.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping

import torch
from torch import Tensor
from torch.nn import functional

from edgexfer.train.deploy import DeployNetwork
from edgexfer.train.quantize.quantized_graph import quantizers_of

_BATCH = 16


@torch.no_grad()
def layer_sensitivity(quantized: DeployNetwork, own: Mapping[str, set[str]], pixels: Tensor) -> dict[str, float]:
    """Returns, for each layer, the mean Kullback-Leibler divergence of the answers in nats, 0 or more.

    Args:
        quantized: with NNCF's quantizers; it is not changed.
        own: each layer's quantizers (edgexfer/train/quantize/float_layers.py).
        pixels: uint8 [images, 3, H, W].
    """
    network = copy.deepcopy(quantized).eval()
    quantizers = quantizers_of(network.network)
    for quantizer in quantizers.values():
        quantizer.disable_quantization()
    wanted = _log_probabilities(network, pixels)
    found = {}
    for layer, names in own.items():
        for name in names:
            quantizers[name].enable_quantization()
        answers = _log_probabilities(network, pixels)
        for name in names:
            quantizers[name].disable_quantization()
        divergence = functional.kl_div(answers, wanted, reduction="batchmean", log_target=True)
        found[layer] = max(0.0, float(divergence))
    return found


def _log_probabilities(network: DeployNetwork, pixels: Tensor) -> Tensor:
    parts = [network(pixels[start : start + _BATCH]) for start in range(0, len(pixels), _BATCH)]
    return torch.cat(parts).log_softmax(1)
