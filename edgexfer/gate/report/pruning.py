"""Pruning as a table: what a network lost on the way to the size that was asked for, point by point.

What is read is `pruning` of a checkpoint's manifest (edgexfer/train/prune/prune.py), which a bundle has in its
provenance.
"""

from __future__ import annotations

from typing import Any

from edgexfer.core.errors import ArtifactError
from edgexfer.core.versioned import DOES_NOT_FIT
from edgexfer.gate.accuracy import wilson_interval
from edgexfer.gate.report.drawing import Table


def pruning_table(record: dict[str, Any] | None) -> Table | None:
    """Returns the points, the unpruned network first; None where nothing was pruned.

    Raises:
        ArtifactError: the record is not one.
    """
    if record is None:
        return None
    try:
        points: list[dict[str, Any]] = record["points"]
        split = "test" if "test" in points[0]["metrics"] else "val"
        full_ms = next((point["latency"]["full_ms"] for point in points if point["latency"]), None)
        clock = () if full_ms is None else ("latency", "ms", "file")
        sides = {point.get("input_size") for point in points}  # older records have none
        size = ("input",) if len(sides) > 1 else ()
        head = ("left", *size, "parameters", "MACs", *clock, f"top-1 {split}", "95 % interval")
        rows = tuple(_row(point, split, full_ms, sized=bool(size)) for point in points)
        return Table(f"Pruned to {record['goal']}", head, rows)
    except DOES_NOT_FIT as error:
        raise ArtifactError(f"the record of pruning is damaged: {error!r}", "prune again") from error


def pruning_about(record: dict[str, Any] | None) -> str:
    """Says what the figures of a record are of, which `pruning_table` could read; "" without one."""
    if record is None:
        return ""
    about = "The float network at each point, after it has learned again; the last one is what was asked for."
    if not any(point["latency"] for point in record["points"]):
        return about
    return (
        f"{about} Latency: one inference in {record['precision']} with {record['engine']}, 1 thread, in turns with the "
        "unpruned network's; file: the ONNX file in that precision."
    )


def _row(point: dict[str, Any], split: str, full_ms: float | None, *, sized: bool) -> tuple[str, ...]:
    found = point["metrics"][split]
    low, high = wilson_interval(found["right"], found["images"])
    clock: tuple[str, ...] = ()
    if full_ms is not None:
        timed = point["latency"] or {"ratio": 1.0, "latency_ms": full_ms}
        clock = (f"{timed['ratio']:.2f}", f"{timed['latency_ms']:.2f}", f"{point['size_bytes'] / 1e6:.2f} MB")
    return (
        f"{point['ratio']:.2f}",
        *((str(point["input_size"]),) if sized else ()),
        f"{point['params'] / 1e6:.2f} M",
        f"{point['macs'] / 1e6:.0f} M",
        *clock,
        f"{100 * found['right'] / found['images']:.1f} %",
        f"{100 * low:.1f} to {100 * high:.1f}",
    )
