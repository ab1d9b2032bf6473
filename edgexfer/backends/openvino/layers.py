"""How long each layer of a network takes, as OpenVINO has fused and laid it out."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgexfer.core.layer_times import LayerTime

PROFILED = {"PERF_COUNT": "YES"}
"""What a network must be compiled with, to be asked."""
_NUMBERED = re.compile(r"([A-Za-z]+)_\d+")
_UNCOUNTED = 5  # calls until caches and branch predictors have settled


def time_network(compiled: Any, pixels: NDArray[np.uint8], calls: int) -> tuple[LayerTime, ...]:
    """Runs a network and returns the time of each layer that is executed, in their order.

    What was fused into another layer is part of that one, and what only renames memory is left out: OpenVINO calls both
    NOT_RUN.

    Args:
        compiled: for batches of one image, with PROFILED.
        pixels: uint8 [1, H, W, 3].
        calls: that count.
    """
    from openvino import ProfilingInfo, Tensor

    request = compiled.create_infer_request()
    whole = np.require(pixels, requirements=["C", "W"])  # its memory is shared: see session.py
    samples: dict[str, list[int]] = {}
    for call in range(_UNCOUNTED + calls):
        request.set_input_tensor(Tensor(whole, shared_memory=True))
        request.infer()
        for layer in request.profiling_info if call >= _UNCOUNTED else ():
            if layer.status == ProfilingInfo.Status.EXECUTED:
                samples.setdefault(layer.node_name, []).append(round(layer.real_time.total_seconds() * 1e9))
    nodes = {node.get_friendly_name(): node for node in compiled.get_runtime_model().get_ops()}
    return tuple(
        LayerTime(steady, _elements(nodes[name], "input"), _elements(nodes[name], "output"), tuple(ns))
        for steady, (name, ns) in zip(_steady(samples), samples.items(), strict=True)
    )


def _steady(names: Iterable[str]) -> Iterator[str]:
    """Yields names that are the same whenever the network is compiled.

    What OpenVINO adds it calls by its kind and a number that goes on through the process.
    """
    seen: Counter[str] = Counter()
    for name in names:
        if (numbered := _NUMBERED.fullmatch(name)) is None:
            yield name
        else:
            kind = numbered[1]
            seen[kind] += 1
            yield f"{kind}_{seen[kind]}"


def _elements(node: Any, side: str) -> int:
    ports = getattr(node, f"{side}s")()
    return int(np.prod(ports[0].get_shape())) if ports else 0
