"""The target's engine on the way to a pruned network: which one times, and its latency table; kept in `engine.json`.

    {"version": "onnxruntime 1.31.1", "table": null or {"unit", "terms": [the fields of cost.Term]},
     "start": null or the fields of stand_ins.Timed: the network with a smaller input, no channel removed}

So a way that goes on is timed by the engine that it was begun with, and steered by the table of that time.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgexfer.core.files import write_file
from edgexfer.core.target import Target
from edgexfer.train.checkpoint import Checkpoint
from edgexfer.train.deploy import DeployNetwork
from edgexfer.train.images.prepared import Prepared
from edgexfer.train.prune.aim import Aim
from edgexfer.train.prune.cost import Cost, Term, Widths
from edgexfer.train.prune.groups import Group
from edgexfer.train.prune.smaller_input import SmallerInput
from edgexfer.train.prune.stand_ins import CALIBRATING, Engines, StandIns, Timed
from edgexfer.train.prune.way import ENGINE

log = logging.getLogger(__name__)


def stand_ins_on(
    way: Path,
    checkpoint: Checkpoint,
    network: DeployNetwork,
    groups: Sequence[Group],
    images: Prepared,
    seen: NDArray[np.int64],
    target: Target,
    engines: Engines | None,
    folder: Path,
    smaller: SmallerInput | None,
) -> StandIns | None:
    """Returns what is timed; None without an engine.

    Args:
        way: PLACE.partial.
        checkpoint: the unpruned one.
        network: its network.
        groups: its groups.
        images: that it learns on.
        seen: rows of those that importance is measured on; the first calibrate.
        target: decides the form of the files.
        engines: the target's.
        folder: where the files lie.
        smaller: what the network was before its input became smaller, to be timed against; None where it did not.
    """
    if engines is None:
        return None
    log.info("writing the unpruned network in %s, to be timed", engines.precision)
    before = _kept(way).get("version")
    made = StandIns(checkpoint, network, groups, images.cache[seen[:CALIBRATING]], target, engines, folder, before)
    version = made.engine.version
    if before is None:
        _keep(way, version=version)
    elif before != version:
        log.warning("%s timed the points so far and is not here any more: %s goes on", before, version)
    log.info("%s runs it here and times what is narrower", version)
    if smaller is not None:
        own = folder / "own-input"
        own.mkdir()
        whole = StandIns(smaller.before, network, groups, smaller.pixels, target, engines, own, version)
        made.against = whole.unpruned()
    return made


def start_on(way: Path, stand_ins: StandIns, full: Widths) -> Timed:
    """Times the network with a smaller input and all of its channels; kept in `way`."""
    version, kept = stand_ins.engine.version, _kept(way)
    if kept.get("version") == version and kept.get("start"):
        return Timed(**kept["start"])
    timed = stand_ins.timed(full)
    _keep(way, version=version, start=asdict(timed))
    return timed


def aim_on(
    way: Path, counts: Mapping[str, Cost], measure: str, full: Widths, stand_ins: StandIns | None, *, start: float = 1.0
) -> Aim:
    """Returns what chooses the widths: by a count, or by a latency table that is measured, or kept in `way`.

    Args:
        way: PLACE.partial.
        counts: what can be counted.
        measure: of the goal.
        full: the unpruned widths.
        stand_ins: what is timed.
        start: what is left of the measure at these.
    """
    if measure != "latency" or stand_ins is None:
        return Aim(counts[measure], full, stand_ins, by_clock=False, start=start)
    version, kept = stand_ins.engine.version, _kept(way)
    if kept.get("version") == version and kept.get("table"):
        table = Cost(kept["table"]["unit"], tuple(Term(**term) for term in kept["table"]["terms"]))
    else:
        log.info("timing its layers at other widths")
        table = stand_ins.table(_told("layers"))
        _keep(way, version=version, table=asdict(table))
    return Aim(table, full, stand_ins, by_clock=True, start=start)


def _kept(way: Path) -> dict[str, Any]:
    try:
        return dict(json.loads((way / ENGINE).read_bytes()))
    except (OSError, ValueError, TypeError):
        return {}


def _keep(way: Path, *, version: str, **measured: dict[str, Any]) -> None:
    kept = _kept(way)
    before = kept if kept.get("version") == version else {}
    content = {"table": None, "start": None, **before, "version": version, **measured}
    write_file(way / ENGINE, json.dumps(content) + "\n")


def _told(what: str) -> Callable[[int, int], None]:
    """Returns a progress that says every quarter of the way in the log."""

    def tell(done: int, whole: int) -> None:
        if done * 4 // whole != (done - 1) * 4 // whole:
            log.info("%s timed: %d of %d files", what, done, whole)

    return tell
