"""Points of a pruning's record: what the network costs and what it recognises, here and where the way begins."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from edgexfer.train.checkpoint import Checkpoint
from edgexfer.train.dialects.to_onnx import example_for
from edgexfer.train.images.prepared import Prepared
from edgexfer.train.loop.judge import figures_by_split
from edgexfer.train.prune.clock import start_on
from edgexfer.train.prune.cost import Cost, counted
from edgexfer.train.prune.cut import Narrowed
from edgexfer.train.prune.smaller_input import SmallerInput
from edgexfer.train.prune.stand_ins import StandIns


@dataclass(frozen=True)
class Start:
    """Where the way begins: with all channels, of the input that it will end with.

    Attributes:
        left: of each measure, what is left there of the whole network's, 1 or less.
        points: the whole network, and with a smaller input where it gets one.
    """

    left: Mapping[str, float]
    points: tuple[dict[str, Any], ...]


def start_at(
    now: Narrowed,
    checkpoint: Checkpoint,
    smaller: SmallerInput | None,
    prepared: Prepared,
    counts: Mapping[str, Cost],
    measure: str,
    stand_ins: StandIns | None,
    way: Path,
) -> Start:
    """Returns where the way begins.

    Args:
        now: the network, no channel removed.
        checkpoint: with the input that it will have.
        smaller: what it was before; None where its input stays as it is.
        prepared: the images that judge, at that input.
        counts: what can be counted, at that input.
        measure: of the goal.
        stand_ins: what is timed.
        way: PLACE.partial.
    """
    figures = figures_by_split(now.network, prepared)
    if smaller is None:
        left = dict.fromkeys(("latency", *counts), 1.0)
        return Start(left, (point(1.0, now, checkpoint, counts, stand_ins, figures, 0),))
    whole = counts_at(now, smaller.before)
    left = {name: cost.of(now.widths) / whole[name].of(now.widths) for name, cost in counts.items()}
    if stand_ins is not None:
        now = replace(now, timed=start_on(way, stand_ins, now.widths))
        left["latency"] = now.timed.ratio if now.timed else 1.0
    untouched = replace(now, timed=None)
    first = point(1.0, untouched, smaller.before, whole, None, smaller.before.manifest["metrics"], 0)
    if stand_ins is not None and stand_ins.against is not None:
        first["size_bytes"] = stand_ins.against.model.stat().st_size
    return Start(left, (first, point(left[measure], now, checkpoint, counts, stand_ins, figures, 0)))


def point(
    ratio: float,
    now: Narrowed,
    checkpoint: Checkpoint,
    counts: Mapping[str, Cost],
    stand_ins: StandIns | None,
    figures: Mapping[str, Any],
    epochs: int,
) -> dict[str, Any]:
    """Returns a point, see prune.py.

    Args:
        ratio: what was asked for here.
        now: the network.
        checkpoint: says what its input is.
        counts: what can be counted.
        stand_ins: what is timed.
        figures: by split.
        epochs: that it has learned.
    """
    return {
        "ratio": round(ratio, 4),
        "input_size": checkpoint.preprocess.height,
        **{measure: round(cost.of(now.widths)) for measure, cost in counts.items()},
        "size_bytes": None if stand_ins is None else stand_ins.size_bytes(now.widths),
        "latency": None if now.timed is None else asdict(now.timed),
        "metrics": {
            split: {"images": found["images"], "right": round(found["top1"] * found["images"])}
            for split, found in figures.items()
        },
        "epochs": epochs,
    }


def counts_at(now: Narrowed, checkpoint: Checkpoint) -> dict[str, Cost]:
    """Returns what can be counted of the network, by measure, at the input that the checkpoint has."""
    example = example_for(checkpoint, now.network)
    return {measure: counted(now.network.network, now.groups, example, measure) for measure in ("params", "macs")}
