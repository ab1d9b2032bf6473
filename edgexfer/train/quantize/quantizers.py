"""NNCF's quantizers, placed on a network in deploy form and set to a dialect before they learn.

What differs from NNCF's own defaults, and why (measured figures in docs/log.md):
- activations per tensor: its CPU profile quantizes the inputs of depthwise convolutions per channel, which no
  runtime fuses;
- "ort": unsigned activations with a zero point; "tensorrt": signed and symmetric, set before training, since NNCF
  refuses to be asked for it through its parameters;
- "tensorrt": none where that engine gains nothing from it (edgexfer/train/quantize/needless.py);
- the input's quantizer is exactly the uint8 pixel.
"""

from __future__ import annotations

import copy
import io
import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stdout
from typing import Any

import torch

# Importing NNCF asks PyTorch for a CUDA compiler, which then says that there is none.
logging.getLogger("torch.utils.cpp_extension").setLevel(logging.ERROR)

import nncf
import nncf.torch
from nncf.quantization.advanced_parameters import (
    AdvancedQuantizationParameters,
    OverflowFix,
    QuantizationParameters,
)
from nncf.quantization.range_estimator import RangeEstimatorParametersSet
from nncf.torch.quantization import quantize_functions
from nncf.torch.quantization.layers import AsymmetricQuantizer, SymmetricQuantizer
from torch import Tensor, nn

from edgexfer.core.errors import EdgexferError
from edgexfer.core.target import CalibrationRecipe, Target
from edgexfer.train.deploy import DeployNetwork
from edgexfer.train.quantize.fake_quantize import Kernels
from edgexfer.train.quantize.needless import depthwise_quantizers, needless_quantizers
from edgexfer.train.quantize.quantized_graph import QuantizedGraph, quantizers_of, remove_quantizers

# NNCF asks these two for its compiled kernels; see edgexfer/train/quantize/fake_quantize.py for why it gets ours.
quantize_functions.QuantizedFunctionsCPU = Kernels
quantize_functions.QuantizedFunctionsCUDA = Kernels

_ESTIMATORS = {
    "min_max": RangeEstimatorParametersSet.MINMAX,
    "mean_min_max": RangeEstimatorParametersSet.MEAN_MINMAX,
    "quantile": RangeEstimatorParametersSet.MEAN_QUANTILE,
    "histogram": RangeEstimatorParametersSet.HISTOGRAM,
}


def place_quantizers(
    deployed: DeployNetwork, pixels: Tensor, target: Target, recipe: CalibrationRecipe
) -> DeployNetwork:
    """Returns a copy of the network with quantizers whose ranges were initialised on `pixels`.

    Args:
        deployed: a float network in deploy form; it is not changed.
        pixels: uint8 [images, 3, H, W], the calibration images.
        target: its dialect and weight_bits decide the quantizers' kind.
        recipe: its estimator decides how ranges are taken from the images.
    """
    symmetric = target.dialect == "tensorrt"
    estimator = _ESTIMATORS[recipe.estimator]
    batch = 16
    with quiet_nncf():
        batches = [deployed.centre(pixels[i : i + batch]) for i in range(0, len(pixels), batch)]
        network = nncf.quantize(
            deployed.network,
            nncf.Dataset(batches),
            preset=nncf.QuantizationPreset.PERFORMANCE if symmetric else nncf.QuantizationPreset.MIXED,
            subset_size=len(batches),
            advanced_parameters=AdvancedQuantizationParameters(
                # Training follows, which learns biases on more images; NNCF's correction moved a classifier's bias
                # by 4.6 and took 53 points of accuracy on scans of digits (docs/log.md).
                disable_bias_correction=True,
                overflow_fix=OverflowFix.ENABLE if target.weight_bits == 7 else OverflowFix.DISABLE,
                activations_quantization_params=QuantizationParameters(per_channel=False),
                activations_range_estimator_params=estimator,
            ),
        )
    quantized = DeployNetwork(network, deployed.pixel_scale, deployed.pixel_zero)
    if symmetric:
        _force_signed(network)
        with quiet_nncf():
            graph = QuantizedGraph(network.eval(), batches[0][:1])
        remove_quantizers(network, needless_quantizers(graph))
    _pin_pixels(quantized)
    return quantized


@torch.no_grad()
def estimated_anew(
    quantized: DeployNetwork, pixels: Tensor, target: Target, recipe: CalibrationRecipe
) -> DeployNetwork:
    """Returns a copy whose activations have the ranges that another estimator takes from the calibration images.

    Weights and their ranges stay as they were learned.

    Args:
        quantized: it is not changed.
        pixels: uint8 [images, 3, H, W], the calibration images.
        target: the one it was quantized for.
        recipe: with the estimator.
    """
    own = copy.deepcopy(quantized)
    found = quantizers_of(place_quantizers(without_quantizers(quantized), pixels, target, recipe).network)
    with quiet_nncf():
        graph = QuantizedGraph(own.network, own.centre(pixels[:1]))
    quantizers = quantizers_of(own.network)
    for name in graph.activation_quantizers:
        quantizers[name].load_state_dict(found[name].state_dict())
    return own


def quantizer_config(quantized: DeployNetwork) -> dict[str, Any]:
    """Returns NNCF's JSON configuration, from which `restore_quantizers` puts the quantizers back."""
    config: dict[str, Any] = nncf.torch.get_config(quantized.network)
    return config


def restore_quantizers(deployed: DeployNetwork, config: dict[str, Any]) -> DeployNetwork:
    """Returns the network with the quantizers of `config`, their values still to be loaded."""
    with quiet_nncf():
        network = nncf.torch.load_from_config(deployed.network, config)
    return DeployNetwork(network, deployed.pixel_scale, deployed.pixel_zero)


@torch.no_grad()
def with_float_depthwise(quantized: DeployNetwork, example: Tensor) -> DeployNetwork | None:
    """Returns a copy whose depthwise convolutions are float, their weights as rounded as they were learned.

    Args:
        quantized: in evaluation mode; it is not changed.
        example: float32 [1, 3, H, W], an input of `quantized.network`.

    Returns:
        The copy, or None where no depthwise convolution is quantized.
    """
    own = copy.deepcopy(quantized)
    with quiet_nncf():
        graph = QuantizedGraph(own.network, example)
    names = depthwise_quantizers(graph)
    quantizers = quantizers_of(own.network)
    for layer in graph.operators:
        for name in names.intersection(graph.weight_quantizers(layer)):
            weight = own.network.get_parameter(graph.weight_name(layer))
            weight.copy_(quantizers[name](weight))
    remove_quantizers(own.network, names)
    return own if names else None


def without_quantizers(quantized: DeployNetwork) -> DeployNetwork:
    """Returns a copy that computes in float what the network has learned with its quantizers."""
    own = copy.deepcopy(quantized)
    remove_quantizers(own.network, set(quantizers_of(own.network)))
    return own


def stripped(quantized: DeployNetwork, example: Tensor) -> nn.Module:
    """Returns the network with PyTorch's own FakeQuantize in place of NNCF's quantizers, for the exporter.

    Args:
        quantized: in evaluation mode.
        example: float32 [1, 3, H, W], an input of `quantized.network`.
    """
    with quiet_nncf():
        return nncf.strip(
            quantized.network, do_copy=True, strip_format=nncf.StripFormat.NATIVE, example_input=example
        ).eval()


def _force_signed(network: nn.Module) -> None:
    for quantizer in quantizers_of(network).values():
        if not isinstance(quantizer, SymmetricQuantizer):
            raise EdgexferError("NNCF placed an asymmetric quantizer where a symmetric one was asked for")
        quantizer.signed = True


@torch.no_grad()
def _pin_pixels(quantized: DeployNetwork) -> None:
    """Sets the input's quantizer to what uint8 pixels are and keeps training from moving it."""
    scale, zero = quantized.pixel_scale, quantized.pixel_zero
    quantizers = quantizers_of(quantized.network)
    name = next((name for name in quantizers if name.startswith("post_hooks.") and _at_input(name)), None)
    if name is None:  # the first layer stays in float
        return
    quantizer = quantizers[name]
    if isinstance(quantizer, AsymmetricQuantizer):
        quantizer.input_low.fill_(-zero * scale)
        quantizer.input_range.fill_(255 * scale)
    else:
        quantizer.scale.fill_(max(zero, 255 - zero) * scale)
    for parameter in quantizer.parameters():
        parameter.requires_grad_(requires_grad=False)


def _at_input(name: str) -> bool:
    # Hooks are named by operator, as in "post_hooks.blocks/0/0/bn1/hardtanh/0__0.0"; an input has no path.
    return "/" not in name


@contextmanager
def quiet_nncf() -> Iterator[None]:
    """Keeps NNCF's bars and third parties' deprecation notes out of the user's log; its errors stay."""
    loggers = [logging.getLogger(name) for name in ("nncf", "torch.utils._pytree")]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings(), redirect_stdout(io.StringIO()):
            warnings.simplefilter("ignore")
            yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)
