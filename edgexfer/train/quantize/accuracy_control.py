"""Accuracy control: quantized Checkpoint -> the same with as little in float as holds its target's limit.

Where INT8 loses more top-1 than the target allows, on the validation images and in ONNX Runtime as it would ship, this
is tried, the cheapest first, and the first that holds is kept:
1. the ranges of activations are estimated in another way, on the same calibration images;
2. the most sensitive layers go back to float: 1, 2, 4, 8, ... of them, up to half; then fewer again by bisection, and
   at last each of those that are left is tried in 8 bits once more.
The second goes on from the ranges that lost least. Where nothing holds the network stays as it was.

The search is that of NNCF's quantize_with_accuracy_control (Intel, NNCF's documentation), which knows OpenVINO and ONNX
alone, ranks by the metric and reverts one layer at a time; ranked as in sensitivity.py.
"""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from edgexfer.core.control import Attempt, Control, read_control
from edgexfer.core.held import held_place
from edgexfer.core.target import CalibrationRecipe, Estimator, Target
from edgexfer.train.checkpoint import HISTORY, Checkpoint, save_checkpoint
from edgexfer.train.deploy import DeployNetwork
from edgexfer.train.dialects.candidates import candidates_of, quantized_form
from edgexfer.train.dialects.run_model import Answers, answers_of_model
from edgexfer.train.dialects.to_onnx import example_for, load_network
from edgexfer.train.images.prepared import Progress
from edgexfer.train.loop.judge import figures_by_split
from edgexfer.train.quantize.float_layers import bare_layers, graph_of, island_of, own_quantizers, with_float_layers
from edgexfer.train.quantize.learning_images import images_again
from edgexfer.train.quantize.quantizers import estimated_anew, quantizer_config
from edgexfer.train.quantize.sensitivity import layer_sensitivity

log = logging.getLogger(__name__)

_ESTIMATORS: tuple[Estimator, ...] = ("min_max", "mean_min_max", "quantile", "histogram")
_RANKED_ON = 32
"""Calibration images that rank the layers: a divergence is told by few."""

Measure = Callable[[DeployNetwork, str, "frozenset[str]"], Attempt]
"""Writes a network as it would ship and judges it: (network, estimator, layers in float) -> Attempt."""


@dataclass(frozen=True)
class Held:
    """What control came to.

    Attributes:
        network: what was kept; the one that was given where nothing held.
        control: all that was tried.
    """

    network: DeployNetwork
    control: Control


def hold_accuracy(
    quantized: Checkpoint,
    beside: Checkpoint,
    target: Target,
    *,
    data: str | Path | None = None,
    progress: Progress | None = None,
) -> Checkpoint:
    """Leaves as much of a quantized checkpoint in float as its target's `max_drop` asks for, by measurement.

    The checkpoint is replaced by one with `control.json` in it, unless it holds the limit as it is: then nothing is
    written. One that was controlled with the same limit before is returned as it is.

    Args:
        quantized: learned the target's dialect.
        beside: the float checkpoint that it was made from, by which it is judged.
        target: its `max_drop` is the limit.
        data: the images, where they are no longer where the checkpoint was trained.
        progress: called with (done, all) while images are read.

    Raises:
        EdgexferError: the images are gone or were changed, the checkpoint cannot be written, or ONNX Runtime refuses
            a file.
    """
    record = quantized.quantization or {}
    if controlled(quantized, target):
        return quantized
    network, teacher = load_network(quantized, target), beside.float_network()
    with held_place(quantized.folder), images_again(beside, teacher, data, progress) as (prepared, learning):
        val = prepared.indices("val")
        reference = candidates_of(beside, target)[0]
        wanted = answers_of_model(reference.model, beside, target, prepared.cache, val, reference.precision)
        truth = prepared.class_ids[val]

        def measure(tried: DeployNetwork, estimator: str, layers: frozenset[str]) -> Attempt:
            form = quantized_form(quantized, tried, target)
            found = answers_of_model(form.model, quantized, target, prepared.cache, val, form.precision)
            order = tuple(name for name in names if name in layers)
            return _judged(found, wanted, truth == wanted.classes, truth == found.classes, target, estimator, order)

        names = list(own_quantizers(graph_of(network, example_for(quantized, network)), target.dialect))
        chosen = set(record["images"])
        rows = [index for index, row in enumerate(learning.rows) if row.sha256 in chosen]
        pixels = torch.from_numpy(learning.cache[rows]).permute(0, 3, 1, 2)
        right = float((truth == wanted.classes).mean())
        held = control(network, pixels, target, CalibrationRecipe(**record["recipe"]), measure, right, len(val))
        if held is None:
            return quantized
        kept = held.control.attempts[held.control.chosen or 0]
        own = ("kind", "format_version", "digest", "files", "labels", "labels_sha256", "versions")
        content = {key: value for key, value in quantized.manifest.items() if key not in own}
        content["metrics"] = figures_by_split(held.network, prepared)
        content["quantization"] = {
            **record,
            "nncf": quantizer_config(held.network),
            "estimator": kept.estimator,
            "float_layers": list(kept.float_layers),
        }
    return save_checkpoint(
        quantized.folder,
        state=held.network.state_dict(),
        history=quantized.folder / HISTORY,
        rows=quantized.rows,
        labels=quantized.labels,
        content=content,
        overwrite=True,
        earlier=quantized.earlier_rows(),
        control=held.control.to_json(),
    )


def controlled(quantized: Checkpoint, target: Target) -> bool:
    """Whether all was tried with this checkpoint already, for the limit that `target` has."""
    done = read_control(quantized.folder, quantized.manifest)
    return done is not None and done.max_drop == target.max_drop


def control(
    quantized: DeployNetwork,
    pixels: Tensor,
    target: Target,
    recipe: CalibrationRecipe,
    measure: Measure,
    float_top1: float,
    images: int,
) -> Held | None:
    """Searches; see the module's docstring.

    Args:
        quantized: in evaluation mode; it is not changed.
        pixels: uint8 [images, 3, H, W], the calibration images.
        target: its dialect and limit.
        recipe: how `quantized` was calibrated.
        measure: judges a network; called once for each that is tried.
        float_top1: of the float network, on the images that `measure` judges by.
        images: how many those are.

    Returns:
        None where `quantized` holds the limit as it is.
    """
    attempts = [measure(quantized, recipe.estimator, frozenset())]
    if attempts[0].holds:
        return None
    log.info("INT8 loses too much: %s", _said(attempts[0], float_top1))
    networks = [quantized]
    for estimator in (name for name in _ESTIMATORS if name != recipe.estimator):
        networks.append(
            estimated_anew(quantized, pixels, target, dataclasses.replace(recipe, estimator=estimator)).eval()
        )
        attempts.append(measure(networks[-1], estimator, frozenset()))
        log.info("ranges by %s: %s", estimator, _said(attempts[-1], float_top1))
        if attempts[-1].holds:
            found = Control(images, target.max_drop, float_top1, tuple(attempts), len(attempts) - 1)
            return Held(networks[-1], found)
    best = max(range(len(attempts)), key=lambda index: attempts[index].top1)
    ranked_by = pixels[:_RANKED_ON]
    search = _Search(networks[best], target.dialect, attempts[best].estimator, measure, ranked_by, attempts, float_top1)
    layers = search.run()
    place = None if layers is None else attempts.index(search.tried[layers])
    found = Control(
        images,
        target.max_drop,
        float_top1,
        tuple(attempts),
        place,
        len(ranked_by),
        {name: float(f"{value:.4g}") for name, value in search.sensitivity.items()},
    )
    log.info("%s", found.sentence())
    return Held(quantized if layers is None else search.with_float(layers), found)


class _Search:
    """Which layers go back to float: nothing is measured twice."""

    def __init__(
        self,
        network: DeployNetwork,
        dialect: str,
        estimator: str,
        measure: Measure,
        pixels: Tensor,
        attempts: list[Attempt],
        float_top1: float,
    ) -> None:
        self._network, self._dialect, self._estimator = network, dialect, estimator
        self._measure, self._attempts, self._float_top1 = measure, attempts, float_top1
        self._graph = graph_of(network, network.centre(pixels[:1]))
        self._own = own_quantizers(self._graph, dialect)
        log.info("ranking %d layers by what 8 bits in each alone do to the answers", len(self._own))
        self.sensitivity = layer_sensitivity(network, self._own, pixels)
        self.tried: dict[frozenset[str], Attempt] = {}

    def run(self) -> frozenset[str] | None:
        """Returns the layers to leave in float, None where half of the network would not be enough."""
        ranked = sorted(self.sensitivity, key=lambda name: -self.sensitivity[name])
        count = next((k for k in self._steps(len(ranked)) if self._holds(self._first(ranked, k))), None)
        if count is None:
            return None
        low = count // 2
        while count - low > 1:
            middle = (low + count) // 2
            low, count = (low, middle) if self._holds(self._first(ranked, middle)) else (middle, count)
        return self._without_needless(self._first(ranked, count))

    def with_float(self, layers: frozenset[str]) -> DeployNetwork:
        return with_float_layers(self._network, self._graph, layers, self._dialect)

    def _steps(self, layers: int) -> Iterator[int]:
        count = 1
        while count <= max(1, layers // 2):
            yield count
            count *= 2

    def _first(self, ranked: Sequence[str], count: int) -> frozenset[str]:
        return frozenset().union(*(island_of(self._graph, name, self._own[name]) for name in ranked[:count]))

    def _without_needless(self, layers: frozenset[str]) -> frozenset[str]:
        for name in sorted(layers, key=lambda name: self.sensitivity.get(name, 0.0)):
            fewer = layers - {name}
            # Those that ONNX Runtime quantizes itself are float in name only.
            bare = self._dialect == "ort" and bare_layers(self._graph, fewer)
            if fewer and not bare and self._holds(fewer):
                layers = fewer
        return layers

    def _holds(self, layers: frozenset[str]) -> bool:
        if layers not in self.tried:
            found = self._measure(self.with_float(layers), self._estimator, layers)
            self.tried[layers] = found
            self._attempts.append(found)
            log.info("%d layers in float: %s", len(layers), _said(found, self._float_top1))
        return self.tried[layers].holds


def _judged(
    found: Answers,
    wanted: Answers,
    float_right: NDArray[np.bool_],
    right: NDArray[np.bool_],
    target: Target,
    estimator: str,
    layers: tuple[str, ...],
) -> Attempt:
    top1 = float(right.mean())
    return Attempt(
        estimator,
        layers,
        top1,
        lost=int((float_right & ~right).sum()),
        won=int((right & ~float_right).sum()),
        changed=int((found.classes != wanted.classes).sum()),
        size_bytes=found.size_bytes,
        holds=target.allows(float(float_right.mean()) - top1),
    )


def _said(attempt: Attempt, float_top1: float) -> str:
    holds = "holds" if attempt.holds else "does not hold"
    return f"{100 * (float_top1 - attempt.top1):.2f} points of top-1, {attempt.changed} images changed; {holds}"
