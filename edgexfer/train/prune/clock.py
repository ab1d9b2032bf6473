"""The target's engine on the way to a pruned network: which one times, and its latency table; kept in `engine.json`.

    {"version": "onnxruntime 1.31.1", "table": null or {"unit", "terms": [the fields of cost.Term]}}

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
from edgexfer.train.prune.stand_ins import CALIBRATING, Engines, StandIns
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
    """
    if engines is None:
        return None
    log.info("writing the unpruned network in %s, to be timed", engines.precision)
    before = _kept(way).get("version")
    made = StandIns(checkpoint, network, groups, images.cache[seen[:CALIBRATING]], target, engines, folder, before)
    version = made.engine.version
    if before is None:
        _keep(way, version, None)
    elif before != version:
        log.warning("%s timed the points so far and is not here any more: %s goes on", before, version)
    log.info("%s runs it here and times what is narrower", version)
    return made


def aim_on(way: Path, counts: Mapping[str, Cost], measure: str, full: Widths, stand_ins: StandIns | None) -> Aim:
    """Returns what chooses the widths: by a count, or by a latency table that is measured, or kept in `way`."""
    if measure != "latency" or stand_ins is None:
        return Aim(counts[measure], full, stand_ins, by_clock=False)
    version, kept = stand_ins.engine.version, _kept(way)
    if kept.get("version") == version and kept.get("table"):
        table = Cost(kept["table"]["unit"], tuple(Term(**term) for term in kept["table"]["terms"]))
    else:
        log.info("timing its layers at other widths")
        table = stand_ins.table(_told("layers"))
        _keep(way, version, table)
    return Aim(table, full, stand_ins, by_clock=True)


def _kept(way: Path) -> dict[str, Any]:
    try:
        return dict(json.loads((way / ENGINE).read_bytes()))
    except (OSError, ValueError, TypeError):
        return {}


def _keep(way: Path, version: str, table: Cost | None) -> None:
    content = {"version": version, "table": None if table is None else asdict(table)}
    write_file(way / ENGINE, json.dumps(content) + "\n")


def _told(what: str) -> Callable[[int, int], None]:
    """Returns a progress that says every quarter of the way in the log."""

    def tell(done: int, whole: int) -> None:
        if done * 4 // whole != (done - 1) * 4 // whole:
            log.info("%s timed: %d of %d files", what, done, whole)

    return tell
