"""Masks: sets the weights to zero that a network loses least by. The unstructured ones are NNCF's choice."""

from __future__ import annotations

import copy

import torch
from torch import Tensor, nn

from edgexfer.train.sparse.two_four import is_eligible, two_of_four
from edgexfer.train.sparse.zeros import weights_of


@torch.no_grad()
def apply_two_four(network: nn.Module) -> None:
    """Leaves two of every four weights in each eligible layer, those of largest magnitude; see two_four.py."""
    for _, weight in weights_of(network):
        if is_eligible(tuple(weight.shape)):
            kept = two_of_four(weight.detach().cpu().numpy())
            weight.mul_(torch.from_numpy(kept).to(weight.device))


@torch.no_grad()
def apply_magnitude(network: nn.Module, example: Tensor, share: float) -> None:
    """Sets the smallest weights of the whole network to zero, each beside the norm of its layer (nncf.prune).

    By that small layers, depthwise ones above all, keep most of theirs. The same share of every layer is far worse
    (docs/log.md).

    Args:
        network: changed in place.
        example: float32 [1, 3, H, W], an input of it.
        share: of all weights of convolutions and linear layers, above 0 and below 1; at least that many become zero.
    """
    from edgexfer.train.quantize.quantizers import quiet_nncf  # noqa: PLC0415 - NNCF, not needed for 2:4

    weights = sum(weight.numel() for _, weight in weights_of(network))
    with quiet_nncf():
        import nncf  # noqa: PLC0415 - after our module, which sets it up

        pruned = nncf.prune(
            copy.deepcopy(network),
            mode=nncf.PruneMode.UNSTRUCTURED_MAGNITUDE_GLOBAL,
            ratio=share * weights / (weights - 1),  # it rounds down otherwise
            examples_inputs=example,
        )
        # Its masks are hooks, which QAT would have to carry along: folded in, the zeros alone say what they said.
        plain = nncf.strip(pruned, do_copy=False, strip_format=nncf.StripFormat.IN_PLACE, example_input=example)
    found = dict(weights_of(plain))
    for name, weight in weights_of(network):
        weight.copy_(found[name])
