"""Layers: `layers.json` of a bundle as drawings: which layer loses the most where 8 bits stand for floats.

    {"format_version": 1, "images": 16, "layers": [{"name": "blocks.0.conv", "operator": "Conv", "sqnr_db": 31.2,
                                                    "relative_error": 0.027, "own_sqnr_db": 38.5, "parameters": 864}]}

In the order of the network. `sqnr_db` is the signal-to-quantization-noise ratio of the layer's output, float against
INT8: 20 dB is an error of a tenth, 40 dB of a hundredth; null where nothing differs. `relative_error` is the same as
a fraction. Both hold what came from the layers before; `own_sqnr_db` is that of the layer alone, while all others are
float (null for one that is float itself). Where it is there, it tells which layer is to blame.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from edgexfer.core.errors import ArtifactError
from edgexfer.core.versioned import DOES_NOT_FIT, parse_versioned
from edgexfer.gate.report.drawing import COLOURS, DASHES, SERIES, Drawing, Table, draw, legend

if TYPE_CHECKING:
    from matplotlib.figure import Figure

FORMAT_VERSION = 1
_MOST_DB = 10_000.0  # the range of float64 has 12,000
MOST_SHOWN = 12


@dataclass(frozen=True)
class Layer:
    """What quantization does to the output of one layer.

    Attributes:
        name: of the layer.
        operator: such as "Conv".
        sqnr_db: signal-to-quantization-noise ratio in dB; infinity where nothing differs.
        relative_error: the same as a fraction; nan where it is not known.
        own_sqnr_db: that of this layer alone; infinity where it adds nothing, None where that was not measured.
        parameters: how many the layer has.
    """

    name: str
    operator: str
    sqnr_db: float
    relative_error: float
    own_sqnr_db: float | None
    parameters: int

    @property
    def blame_db(self) -> float:
        """Its own signal-to-quantization-noise ratio where that is known, else that of its output."""
        return self.sqnr_db if self.own_sqnr_db is None else self.own_sqnr_db


@dataclass(frozen=True)
class LayerErrors:
    """All layers.

    Attributes:
        images: how many were run through both networks.
        layers: in the order of the network.
    """

    images: int
    layers: tuple[Layer, ...]

    def worst(self) -> list[Layer]:
        """Returns the layers that are to blame the most first."""
        return sorted(self.layers, key=lambda layer: layer.blame_db)


def read_layers(raw: bytes | None, path: Path) -> LayerErrors | None:
    """Reads the content of a bundle's `layers.json`; None where the bundle has none, or it lists no layer.

    Args:
        raw: the content, None where there is none.
        path: where it lies, for errors.

    Raises:
        ArtifactError: not JSON, of another format_version, or a layer that does not fit.
    """
    if raw is None:
        return None
    mend = "export the bundle again with `edgexfer export RUN --target NAME`"
    content = parse_versioned(raw, path, FORMAT_VERSION, mend)
    try:
        layers = tuple(_layer(item) for item in content["layers"])
        return LayerErrors(int(content["images"]), layers) if layers else None
    except DOES_NOT_FIT as error:
        raise ArtifactError(f"{path} has a layer that does not fit: {error!r}", mend) from error


def layer_drawings(errors: LayerErrors) -> list[Drawing]:
    """Draws the layers that lose the most, and the error along the network."""
    worst = [layer for layer in errors.worst() if math.isfinite(layer.blame_db)][:MOST_SHOWN]
    return [_worst(worst, len(errors.layers)), _along(errors, worst[0])] if worst else []


def layer_table(errors: LayerErrors, sensitivity: Mapping[str, float] = MappingProxyType({})) -> Table:
    """Returns every layer in the order of the network.

    Args:
        errors: of the layers.
        sensitivity: by the layer's name, see edgexfer/core/control.py; empty where it was not measured.
    """
    order = {id(layer): place for place, layer in enumerate(errors.worst(), start=1)}
    rows = tuple(
        (
            layer.name,
            layer.operator,
            str(order[id(layer)]),
            "–" if layer.own_sqnr_db is None else _decibels(layer.own_sqnr_db),
            _decibels(layer.sqnr_db),
            f"{100 * layer.relative_error:.2f} %" if math.isfinite(layer.relative_error) else "–",
            f"{layer.parameters:,}",
            *((_answers(sensitivity.get(layer.name)),) if sensitivity else ()),
        )
        for layer in errors.layers
    )
    further = ("what it does to the answers, in nats",) if sensitivity else ()
    head = ("layer", "operator", "worst", "alone", "with all before", "relative error", "parameters", *further)
    return Table(f"All {len(rows)} layers in the order of the network", head, rows)


def _worst(worst: list[Layer], layers: int) -> Drawing:
    def paint(figure: Figure) -> None:
        axes = figure.add_subplot()
        places = range(len(worst))
        axes.barh(places, [layer.blame_db for layer in worst], height=0.36, color=COLOURS["series-2"])
        low = min(0.0, *(layer.blame_db for layer in worst))
        for place, layer in enumerate(worst):
            name = layer.name if len(layer.name) <= 44 else f"{layer.name[:20]}…{layer.name[-23:]}"
            axes.text(low, place - 0.26, f"{name}  {layer.blame_db:.1f} dB", va="bottom")
        axes.invert_yaxis()
        axes.set_ylim(len(worst) - 0.5, -1.1)
        axes.set_yticks([])
        axes.spines["left"].set_visible(False)
        axes.set_xlabel("signal to quantization noise in dB; shorter hurts more")

    said = ", ".join(f"{layer.name} {layer.blame_db:.1f} dB" for layer in worst[:5])
    return draw(
        "layers-worst", "The layers that lose the most",
        f"Bars of the {len(worst)} layers of {layers} with the least signal to quantization noise: {said}.",
        paint, height_inches=0.75 + 0.33 * len(worst),
    )  # fmt: skip


def _along(errors: LayerErrors, worst: Layer) -> Drawing:
    lines = {"with all before": [layer.sqnr_db for layer in errors.layers]}
    if any(layer.own_sqnr_db is not None for layer in errors.layers):
        lines["alone"] = [layer.blame_db for layer in errors.layers]
    known = {name: [(i, value) for i, value in enumerate(vs) if math.isfinite(value)] for name, vs in lines.items()}

    def paint(figure: Figure) -> None:
        axes = figure.add_subplot()
        for place, (name, points) in enumerate(known.items()):
            axes.plot(
                [i for i, _ in points], [value for _, value in points], marker="o^"[place], markersize=3, label=name,
                color=COLOURS[SERIES[(0, 2)[place]]], linestyle=DASHES[place],
            )  # fmt: skip
        lowest = next(i for i, layer in enumerate(errors.layers) if layer is worst)
        axes.plot([lowest], [worst.blame_db], color=COLOURS["series-2"], marker="D", markersize=7, linestyle="")
        axes.set_ylim(bottom=min(0.0, worst.blame_db))
        axes.set_xlabel("layer, from the pixels to the classes")
        axes.set_ylabel("dB")
        if len(known) > 1:
            legend(axes)

    said = "; ".join(
        f"{name} from {points[0][1]:.1f} dB at the first to {points[-1][1]:.1f} dB at the last"
        for name, points in known.items()
        if points
    )
    return draw(
        "layers-along", "Signal to noise along the network",
        f"Lines over {len(errors.layers)} layers: {said}. The worst is {worst.name} with {worst.blame_db:.1f} dB.",
        paint, caption="The diamond marks the worst layer. Errors add up from layer to layer.",
    )  # fmt: skip


def _answers(divergence: float | None) -> str:
    return "–" if divergence is None else f"{divergence:.2g}"


def _decibels(value: float) -> str:
    return f"{value:.1f} dB" if math.isfinite(value) else "exact"


def _ratio(value: Any, name: str) -> float:
    ratio = math.inf if value is None else float(value)
    if math.isnan(ratio) or ratio == -math.inf or _MOST_DB < abs(ratio) < math.inf:
        raise ValueError(f"the ratio of {name} is {value}")
    return ratio


def _layer(item: dict[str, Any]) -> Layer:
    name, error = str(item["name"]), item.get("relative_error")
    return Layer(
        name,
        str(item.get("operator", "")),
        _ratio(item["sqnr_db"], name),
        math.nan if error is None else float(error),
        _ratio(item["own_sqnr_db"], name) if "own_sqnr_db" in item else None,
        int(item.get("parameters") or 0),
    )
