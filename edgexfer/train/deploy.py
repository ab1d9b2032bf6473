"""The deploy form of a network: the same function, written the way a device computes it.

A fine-tuned network goes in; an eager module comes out that computes the same logits and has
- one branch where RepVGG trained several in parallel,
- no batch norm: each is folded into the convolution before it (Jacob et al. 2018, section 3.2),
- fixed paddings instead of TensorFlow's "same", which is computed at run time,
- the pixel normalisation folded into the first convolution.

Its input is `(pixel - pixel_zero) * pixel_scale`, float32 [N, 3, H, W], with one integer `pixel_zero`
and one `pixel_scale` for all channels: just what a quantized tensor is. So the uint8 pixels of a camera
are the network's first quantized activation, and no float operator stands in front of it. Quantization is
learned on this form; what rounding `pixel_zero` changes at the image's border is thus trained away.
"""

from __future__ import annotations

import copy
from typing import cast

import torch
from timm.layers import BatchNormAct2d, Conv2dSame
from timm.layers.padding import get_same_padding
from timm.utils import reparameterize_model
from torch import Tensor, fx, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from edgexfer.core.errors import EdgexferError
from edgexfer.train.backbones import Normalization


class DeployNetwork(nn.Module):
    """A network in deploy form.

    Attributes:
        network: the module; float32 [N, 3, H, W] -> logits float32 [N, classes].
        pixel_scale, pixel_zero: how uint8 pixels become its input; see the module's docstring.
    """

    def __init__(self, network: nn.Module, pixel_scale: float, pixel_zero: int) -> None:
        super().__init__()
        self.network = network
        self.pixel_scale = pixel_scale
        self.pixel_zero = pixel_zero

    def centre(self, pixels: Tensor) -> Tensor:
        """Turns pixels of any dtype, 0 to 255, [N, 3, H, W], into the network's float32 input."""
        return (pixels.float() - self.pixel_zero).mul_(self.pixel_scale)

    def forward(self, pixels: Tensor) -> Tensor:
        """Returns logits float32 [N, classes] for pixels [N, 3, H, W], 0 to 255."""
        return cast(Tensor, self.network(self.centre(pixels)))


def deploy_form(model: nn.Module, normalization: Normalization, height: int, width: int) -> DeployNetwork:
    """Returns a copy of `model` in deploy form; `model` itself is not changed.

    Args:
        model: takes normalised float32 [N, 3, height, width]; gives logits.
        normalization: mean and standard deviation per channel on the scale 0 to 1.
        height: of the input, in pixels.
        width: of the input, in pixels.

    Raises:
        EdgexferError: a batch norm that does not follow a convolution, or no first convolution.
    """
    network = reparameterize_model(copy.deepcopy(model).eval(), inplace=True)
    _fold_batch_norms(network)
    _fix_paddings(network, height, width)
    scale, zero = _fold_normalization(network, normalization)
    return DeployNetwork(network, scale, zero).eval()


class _Tracer(fx.Tracer):
    """Keeps convolutions and batch norms whole, timm's subclasses included."""

    def is_leaf_module(self, m: nn.Module, module_qualified_name: str) -> bool:
        kinds = (nn.Conv2d, nn.BatchNorm2d, nn.Linear)
        return isinstance(m, kinds) or super().is_leaf_module(m, module_qualified_name)


def _fold_batch_norms(network: nn.Module) -> None:
    graph = _Tracer().trace(network)
    modules = dict(network.named_modules())
    for node in graph.nodes:
        norm = modules.get(str(node.target)) if node.op == "call_module" else None
        if not isinstance(norm, nn.BatchNorm2d):
            continue
        before = node.args[0]
        conv = modules.get(str(before.target)) if before.op == "call_module" else None
        if not isinstance(conv, nn.Conv2d) or len(before.users) != 1:
            raise EdgexferError(
                f"batch norm '{node.target}' does not follow a convolution of its own, so it cannot be folded"
            )
        network.set_submodule(str(before.target), _fused(conv, norm))
        network.set_submodule(str(node.target), _after(norm))


def _fused(conv: nn.Conv2d, norm: nn.BatchNorm2d) -> nn.Conv2d:
    plain = nn.BatchNorm2d(norm.num_features, eps=norm.eps)
    plain.load_state_dict(norm.state_dict())
    return fuse_conv_bn_eval(conv, plain.eval())


def _after(norm: nn.BatchNorm2d) -> nn.Module:
    # timm's batch norm carries the activation that follows it.
    return _not_inplace(norm.act) if isinstance(norm, BatchNormAct2d) else nn.Identity()


def _not_inplace(activation: nn.Module) -> nn.Module:
    if hasattr(activation, "inplace"):
        activation.inplace = False  # type: ignore[assignment]
    return activation


@torch.no_grad()
def _fix_paddings(network: nn.Module, height: int, width: int) -> None:
    sizes: dict[str, torch.Size] = {}
    same = {name: module for name, module in network.named_modules() if isinstance(module, Conv2dSame)}
    hooks = [
        module.register_forward_pre_hook(lambda _, args, name=name: sizes.__setitem__(name, args[0].shape))
        for name, module in same.items()
    ]
    network(torch.zeros(1, 3, height, width))
    for hook in hooks:
        hook.remove()
    for name, conv in same.items():
        network.set_submodule(name, _with_fixed_padding(conv, sizes[name]))


def _with_fixed_padding(conv: nn.Conv2d, input_shape: torch.Size) -> nn.Module:
    totals = [
        get_same_padding(size, kernel, stride, dilation)
        for size, kernel, stride, dilation in zip(
            input_shape[-2:], conv.kernel_size, conv.stride, conv.dilation, strict=True
        )
    ]
    even = all(total % 2 == 0 for total in totals)
    plain = nn.Conv2d(
        conv.in_channels,
        conv.out_channels,
        conv.kernel_size,  # type: ignore[arg-type]
        conv.stride,  # type: ignore[arg-type]
        padding=(totals[0] // 2, totals[1] // 2) if even else 0,
        dilation=conv.dilation,  # type: ignore[arg-type]
        groups=conv.groups,
        bias=conv.bias is not None,
    )
    plain.load_state_dict(conv.state_dict())
    if even:
        return plain
    top, left = totals[0] // 2, totals[1] // 2
    return nn.Sequential(nn.ZeroPad2d((left, totals[1] - left, top, totals[0] - top)), plain)


@torch.no_grad()
def _fold_normalization(network: nn.Module, normalization: Normalization) -> tuple[float, int]:
    first = next((m for m in network.modules() if isinstance(m, nn.Conv2d)), None)
    if first is None or first.in_channels != 3 or first.groups != 1:
        raise EdgexferError("the network does not begin with a convolution over three colour channels")
    mean = torch.tensor(normalization.mean)
    deviation = torch.tensor(normalization.std)
    # One scale and one integer zero serve all channels; weights and bias take the rest.
    scale = float((1 / (255 * deviation)).mean())
    zero = round(float((255 * mean).mean()))
    shift = (zero / 255 - mean) / deviation  # normalised value of a pixel equal to `zero`
    bias = torch.zeros(first.out_channels) if first.bias is None else first.bias.detach()
    bias = bias + torch.einsum("oikl,i->o", first.weight, shift)
    first.bias = nn.Parameter(bias)
    first.weight.copy_(first.weight / (255 * deviation * scale).view(1, 3, 1, 1))
    return scale, zero
