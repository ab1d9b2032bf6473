"""What a network of some widths costs: parameters and multiply-accumulates counted, latency predicted.

All three have one form. A layer's cost is a constant, plus so much a channel that it reads, plus so much a channel that
it writes, plus so much a pair of the two.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from edgexfer.train.prune.groups import Group, is_depthwise

Widths = NDArray[np.int64]
"""How many channels each group has, int64 [groups]."""


@dataclass(frozen=True)
class Term:
    """The cost of one layer.

    Attributes:
        reads: index of the group whose channels it reads; None where their number is fixed, or they are those it
            writes.
        writes: index of the group whose channels it writes; None where their number is fixed.
        constant: whatever the widths are.
        by_read: of each channel read.
        by_write: of each channel written.
        by_pair: of each channel read and written, times one another.
    """

    reads: int | None
    writes: int | None
    constant: float = 0.0
    by_read: float = 0.0
    by_write: float = 0.0
    by_pair: float = 0.0


@dataclass(frozen=True)
class Cost:
    """The cost of a whole network.

    Attributes:
        unit: "parameters", "MACs" or "us".
        terms: one for each layer.
    """

    unit: str
    terms: tuple[Term, ...]

    def of(self, widths: Widths) -> float:
        """Returns the cost at so many channels in each group."""
        return sum(self._term(term, widths) for term in self.terms)

    def saved(self, widths: Widths, group: int, channels: int) -> float:
        """Returns how much less it is with so many channels less in one group."""
        less = widths.copy()
        less[group] -= channels
        touched = [term for term in self.terms if group in (term.reads, term.writes)]
        return sum(self._term(term, widths) - self._term(term, less) for term in touched)

    @staticmethod
    def _term(term: Term, widths: Widths) -> float:
        read = 1.0 if term.reads is None else float(widths[term.reads])
        written = 1.0 if term.writes is None else float(widths[term.writes])
        return term.constant + term.by_read * read + term.by_write * written + term.by_pair * read * written


def counted(network: nn.Module, groups: Sequence[Group], example: Tensor, measure: str) -> Cost:
    """Counts the parameters or the multiply-accumulates of one image, exactly.

    Args:
        network: in deploy form.
        groups: all of them; widths are theirs.
        example: float32 [1, 3, H, W].
        measure: "params" or "macs".
    """
    writes = {name: number for number, group in enumerate(groups) for name in group.writers}
    reads = {name: number for number, group in enumerate(groups) for name in group.readers}
    places = _places(network, example)
    terms = []
    for name, layer in network.named_modules():
        if not isinstance(layer, (nn.Conv2d, nn.Linear)):
            continue
        own = None if is_depthwise(layer) else reads.get(name)
        kernel = layer.weight[0, 0].numel() if layer.weight.ndim > 2 else 1
        each = kernel * (places[name] if measure == "macs" else 1)
        fixed_in = layer.weight.shape[1] if own is None else 1
        fixed_out = 1 if name in writes else layer.weight.shape[0]
        pair = float(each * fixed_in * fixed_out)
        bias = float(fixed_out if measure == "params" and layer.bias is not None else 0)
        terms.append(Term(own, writes.get(name), 0.0, 0.0, bias, pair))
    return Cost({"macs": "MACs", "params": "parameters"}[measure], tuple(terms))


@torch.no_grad()
def _places(network: nn.Module, example: Tensor) -> dict[str, int]:
    """Returns at how many places of an image each layer computes its outputs."""
    seen: dict[str, int] = {}
    hooks = [
        layer.register_forward_hook(
            lambda _, __, out, name=name: seen.__setitem__(name, out.shape[-2:].numel() if out.ndim == 4 else 1)
        )
        for name, layer in network.named_modules()
        if isinstance(layer, (nn.Conv2d, nn.Linear))
    ]
    network(example)
    for hook in hooks:
        hook.remove()
    return seen
