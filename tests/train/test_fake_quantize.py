"""Our kernels compute what NNCF's own reference does."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from edgexfer.train.quantize.fake_quantize import Kernels

pytestmark = pytest.mark.train


def reference() -> Any:
    from nncf.torch.quantization.reference import ReferenceBackendType, ReferenceQuantize

    return ReferenceQuantize(ReferenceBackendType.TORCH)


def tensors(seed: int, per_channel: bool, levels: int) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    shape, ranges = ((4, 3, 2, 2), (4, 1, 1, 1)) if per_channel else ((2, 3, 4, 4), (1,))
    values = torch.randn(shape, generator=generator) * 3
    width = torch.rand(ranges, generator=generator) * 4 + 0.5
    step = width / (levels - 1)
    low = -(torch.rand(ranges, generator=generator) * (levels - 1)).round() * step
    return values, low, width, torch.randn(shape, generator=generator)


@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 10_000), per_channel=st.booleans(), levels=st.sampled_from([128, 255, 256]))
def test_forward_is_that_of_nncf(seed: int, per_channel: bool, levels: int) -> None:
    values, low, width, _ = tensors(seed, per_channel, levels)
    ours = Kernels.Quantize_forward(values.clone(), low, width, levels)
    theirs = reference().forward(values.clone(), low, width, levels)
    step = (width / (levels - 1)).max()
    # A value in the middle of two steps may go either way in float32; nothing else may differ.
    assert ((ours - theirs).abs() <= step * 1.01).all()
    assert ((ours - theirs).abs() > 1e-4).float().mean() < 0.05


@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 10_000), per_channel=st.booleans())
def test_gradient_passes_inside_the_range_and_nowhere_else(seed: int, per_channel: bool) -> None:
    values, low, width, gradient = tensors(seed, per_channel, 256)
    ours = Kernels.Quantize_backward(gradient, values, low, width, 256, -128, 127)
    theirs = reference().backward(gradient, values, low, width, 256, -128, 127)
    torch.testing.assert_close(ours[0], theirs[0])
    if per_channel:
        torch.testing.assert_close(ours[1], theirs[1], rtol=1e-4, atol=1e-5)
        torch.testing.assert_close(ours[2], theirs[2], rtol=1e-3, atol=1e-3)
    else:
        assert not ours[1].any()
        assert not ours[2].any()


def test_outputs_are_few_values() -> None:
    values, low, width, _ = tensors(3, per_channel=False, levels=256)
    assert len(Kernels.Quantize_forward(values, low, width, 4).unique()) <= 4


def test_nncf_finds_the_functions_it_asks_for() -> None:
    from nncf.torch.quantization import quantize_functions

    import edgexfer.train.quantize.quantizers  # noqa: F401 - importing it hands the kernels over

    assert quantize_functions.QuantizedFunctionsCPU.get("Quantize_forward") is Kernels.Quantize_forward
