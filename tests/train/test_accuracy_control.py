"""Accuracy control: a network that really breaks in 8 bits gets back what it needs, the least of it, and no more."""

from __future__ import annotations

import copy
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from torch import Tensor

from edgexfer.core.control import Attempt
from edgexfer.core.preprocess import Preprocess
from edgexfer.core.target import CalibrationRecipe, Target, load_target
from edgexfer.train.backbones import find_backbone
from edgexfer.train.checkpoint import Checkpoint
from edgexfer.train.deploy import DeployNetwork
from edgexfer.train.dialects.finding import Finding
from edgexfer.train.dialects.lint_ort import ort_findings
from edgexfer.train.dialects.lint_placement import placement_findings
from edgexfer.train.dialects.lint_tensorrt import legality_findings
from edgexfer.train.dialects.onnx_graph import read_graph
from edgexfer.train.dialects.run_model import answers_of_model
from edgexfer.train.dialects.to_onnx import to_onnx
from edgexfer.train.quantize import accuracy_control
from edgexfer.train.quantize.accuracy_control import Measure, control
from edgexfer.train.quantize.float_layers import bare_layers, graph_of, island_of, own_quantizers, with_float_layers
from edgexfer.train.quantize.quantizers import place_quantizers
from edgexfer.train.quantize.sensitivity import layer_sensitivity
from tests.train.outlier import small, with_outlier, with_rare_spike
from tests.train.tiny import CACHE, IDS

pytestmark = pytest.mark.train

TARGETS = {"ort": load_target("x86-cpu"), "tensorrt": load_target("jetson-orin-nano")}
RECIPE = CalibrationRecipe("test")
ROWS = np.arange(len(IDS))
RUN = Checkpoint(
    Path(), {"name": "t"}, ("a", "b"), Preprocess(16, 16, "cover"), find_backbone("efficientnet-lite0"), ()
)


@pytest.fixture(scope="module")
def pixels() -> Tensor:
    return torch.from_numpy(CACHE[ROWS]).permute(0, 3, 1, 2)


@pytest.fixture(scope="module")
def network() -> DeployNetwork:
    return small()


@pytest.fixture(scope="module")
def broken(network: DeployNetwork, pixels: Tensor) -> tuple[DeployNetwork, dict[str, DeployNetwork]]:
    """One channel between `wide` and `next` is a thousand times as large: in float, and in 8 bits for each dialect."""
    spoiled = with_outlier(copy.deepcopy(network), "wide", "next", 1000, channel=12)
    return spoiled, {name: place_quantizers(spoiled, pixels, target, RECIPE).eval() for name, target in TARGETS.items()}


def measuring(floats: DeployNetwork, target: Target) -> Measure:
    """Judges by the file that would ship, on all pictures."""
    wanted = answers_of_model(to_onnx(RUN, floats, target, quantized=False), RUN, target, CACHE, ROWS, "float32")
    assert (wanted.classes == IDS).all()

    def measure(tried: DeployNetwork, estimator: str, layers: frozenset[str]) -> Attempt:
        found = answers_of_model(to_onnx(RUN, tried, target, quantized=True), RUN, target, CACHE, ROWS, "int8")
        wrong = int((found.classes != IDS).sum())
        top1 = 1 - wrong / len(IDS)
        return Attempt(
            estimator, tuple(sorted(layers)), top1, wrong, 0, wrong, found.size_bytes, holds=target.allows(1 - top1)
        )

    return measure


def pretending(enough: Callable[[frozenset[str]], bool]) -> tuple[Measure, list[frozenset[str]]]:
    """A judgement by the names of the layers alone, and what it was asked."""
    asked: list[frozenset[str]] = []

    def measure(_tried: DeployNetwork, estimator: str, layers: frozenset[str]) -> Attempt:
        asked.append(layers)
        holds = enough(layers)
        return Attempt(estimator, tuple(sorted(layers)), 1.0 if holds else 0.5, 0, 0, 0, 1, holds=holds)

    return measure, asked


def findings(model: onnx.ModelProto, dialect: str, layers: set[str]) -> list[Finding]:
    graph = read_graph(model)
    if dialect == "ort":
        return list(ort_findings(graph, layers))
    return [*legality_findings(graph), *placement_findings(graph, float_depthwise=False, float_layers=layers)]


@pytest.mark.parametrize(("dialect", "layers"), [("ort", {"wide", "next"}), ("tensorrt", {"next"})])
def test_an_outlier_channel_is_found_and_its_layers_alone_go_back_to_float(
    broken: tuple[DeployNetwork, dict[str, DeployNetwork]],
    pixels: Tensor,
    monkeypatch: pytest.MonkeyPatch,
    dialect: str,
    layers: set[str],
) -> None:
    monkeypatch.setattr(accuracy_control, "_ESTIMATORS", ("mean_min_max", "quantile"))
    floats, forms = broken
    target = TARGETS[dialect]
    held = control(forms[dialect], pixels, target, RECIPE, measuring(floats, target), 1.0, len(IDS))
    assert held is not None
    found = held.control
    first, ranges, *rest = found.attempts
    assert (first.holds, first.float_layers, first.estimator) == (False, (), "mean_min_max")
    assert (ranges.holds, ranges.float_layers, ranges.estimator) == (False, (), "quantile")
    assert found.chosen is not None
    kept = found.attempts[found.chosen]
    assert kept in rest
    assert kept.holds
    assert set(kept.float_layers) == layers
    # Whose tensor it is stands at the top, far before all others.
    worst, second = sorted(found.sensitivity.values(), reverse=True)[:2]
    assert found.sensitivity["wide" if dialect == "ort" else "next"] == worst > 10 * second
    assert "of top-1 on 32 validation images, the limit is 1.00: with " in found.sentence()
    # The file says so too: these layers are float, and no others.
    model = to_onnx(RUN, held.network, target, quantized=True)
    assert findings(model, dialect, layers) == []
    rule = "float-operator" if dialect == "ort" else "float-between"
    assert {finding.rule for finding in findings(model, dialect, set())} == {rule}
    for wrong in ("last", "nowhere"):
        (finding,) = findings(model, dialect, {*layers, wrong})
        assert (finding.rule, finding.node) == ("float-layers", wrong)


def test_where_the_ranges_are_to_blame_another_estimator_is_enough(network: DeployNetwork, pixels: Tensor) -> None:
    """One speck in one calibration image makes a channel that nobody reads fire: min and max are far apart then."""
    floats, specked = with_rare_spike(copy.deepcopy(network), pixels, 3000.0)
    target = TARGETS["ort"]
    quantized = place_quantizers(floats, specked, target, RECIPE).eval()
    held = control(quantized, specked, target, RECIPE, measuring(floats, target), 1.0, len(IDS))
    assert held is not None
    assert held.control.chosen is not None
    kept = held.control.attempts[held.control.chosen]
    assert (kept.estimator, kept.float_layers) == ("quantile", ())
    assert [attempt.holds for attempt in held.control.attempts] == [False, False, True]
    assert held.control.sensitivity == {}
    assert "with ranges by quantile it loses nothing" in held.control.sentence()
    assert findings(to_onnx(RUN, held.network, target, quantized=True), "ort", set()) == []


def test_what_holds_as_it_is_costs_one_look(
    broken: tuple[DeployNetwork, dict[str, DeployNetwork]], pixels: Tensor
) -> None:
    measure, asked = pretending(lambda _layers: True)
    assert control(broken[1]["ort"], pixels, TARGETS["ort"], RECIPE, measure, 1.0, 9) is None
    assert asked == [frozenset()]


def test_where_nothing_holds_the_network_stays_as_it_was(
    broken: tuple[DeployNetwork, dict[str, DeployNetwork]], pixels: Tensor, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(accuracy_control, "_ESTIMATORS", ("mean_min_max",))
    measure, asked = pretending(lambda _layers: False)
    held = control(broken[1]["ort"], pixels, TARGETS["ort"], RECIPE, measure, 1.0, 9)
    assert held is not None
    assert held.network is broken[1]["ort"]
    assert held.control.chosen is None
    assert held.control.sentence() == (
        "INT8 lost 50.00 points of top-1 on 9 validation images, the limit is 1.00, "
        f"and none of {len(asked)} attempts held it"
    )
    assert len(asked) == 4  # as it was, and with 1, 2 and 4 of 8 layers


@pytest.mark.parametrize("needed", [{"wide", "next"}, {"stem", "wide", "last", "Add"}])
def test_the_fewest_layers_are_left_and_nothing_is_asked_twice(
    broken: tuple[DeployNetwork, dict[str, DeployNetwork]],
    pixels: Tensor,
    monkeypatch: pytest.MonkeyPatch,
    needed: set[str],
) -> None:
    monkeypatch.setattr(accuracy_control, "_ESTIMATORS", ("mean_min_max",))
    measure, asked = pretending(lambda layers: layers >= needed)
    held = control(broken[1]["ort"], pixels, TARGETS["ort"], RECIPE, measure, 1.0, 9)
    assert held is not None
    assert held.control.chosen is not None
    assert set(held.control.attempts[held.control.chosen].float_layers) == needed
    assert len(asked) == len(set(asked)) == len(held.control.attempts)


def test_a_layer_takes_along_who_reads_it_and_is_float_in_name_only_by_itself(
    broken: tuple[DeployNetwork, dict[str, DeployNetwork]], pixels: Tensor
) -> None:
    for dialect, islands in (
        ("ort", {"wide": {"wide", "next"}, "next": {"next", "deep", "Add"}, "classifier": {"classifier"}}),
        ("tensorrt", {"wide": {"wide"}, "next": {"next"}, "deep": {"deep", "Add"}}),
    ):
        quantized = broken[1][dialect]
        graph = graph_of(quantized, quantized.centre(pixels[:1]))
        own = own_quantizers(graph, dialect)
        assert {name: island_of(graph, name, own[name]) for name in islands} == islands
    quantized = broken[1]["ort"]
    graph = graph_of(quantized, quantized.centre(pixels[:1]))
    assert bare_layers(graph, {"wide"}) == {"wide"}
    assert bare_layers(graph, {"wide", "next", "last"}) == {"last"}
    # ONNX Runtime proves it: the layer is in 8 bits all the same, and lint says so.
    alone = with_float_layers(quantized, graph, {"wide"}, "ort")
    (finding,) = findings(to_onnx(RUN, alone, TARGETS["ort"], quantized=True), "ort", {"wide"})
    assert (finding.rule, finding.node) == ("float-layers", "wide")


def test_a_network_without_rounding_is_sensitive_nowhere(
    broken: tuple[DeployNetwork, dict[str, DeployNetwork]], pixels: Tensor
) -> None:
    quantized = broken[1]["ort"]
    own = own_quantizers(graph_of(quantized, quantized.centre(pixels[:1])), "ort")
    assert layer_sensitivity(quantized, {name: set() for name in own}, pixels[:4]) == dict.fromkeys(own, 0.0)
