"""Sparsity as a table and sentences: what zeros cost in accuracy, and what they gain in the file that ships.

What is read is `sparsity` of a checkpoint's manifest (edgexfer/train/sparse/sparsify.py), or of a bundle's, which has
`gain` in it too (edgexfer/core/bundle.py).
"""

from __future__ import annotations

from typing import Any

from edgexfer.core.errors import ArtifactError
from edgexfer.core.versioned import DOES_NOT_FIT
from edgexfer.gate.accuracy import wilson_interval
from edgexfer.gate.report.drawing import Table

# One loud run put the whole interval of a CPU, which cannot skip zeros, at 0.944 to 0.998.
_WORTH = 0.98


def sparsity_table(record: dict[str, Any] | None) -> Table | None:
    """Returns the points on the way, the dense network first; None where no zeros were asked for.

    Raises:
        ArtifactError: the record is not one.
    """
    if record is None:
        return None
    try:
        points: list[dict[str, Any]] = record["points"]
        split = "test" if "test" in points[0]["metrics"] else "val"
        rows = tuple(_row(point, split) for point in points)
        how = "" if record["asked"] == "2:4" else f" by {record['how']}"
        return Table(f"Sparsity {record['asked']}{how}", ("zeros", f"top-1 {split}", "95 % interval"), rows)
    except DOES_NOT_FIT as error:
        raise _damaged(error) from error


def sparsity_gained(record: dict[str, Any] | None, target: str = "") -> list[str]:
    """Says in sentences what the zeros gain; empty where there are none, or nothing was measured yet.

    Args:
        record: `sparsity` of a manifest.
        target: name of the target that the bundle is for.

    Raises:
        ArtifactError: the record is not one.
    """
    if record is None:
        return []
    try:
        gain = record.get("gain")
        if gain is None:
            return []
        found = [_file(gain), _latency(gain, target or "this target")]
        if record["asked"] == "2:4":
            found.append(fitting_words(gain["eligible"]))
        return found
    except DOES_NOT_FIT as error:
        raise _damaged(error) from error


def fitting_words(eligible: dict[str, Any]) -> str:
    """Says how much of a network 2:4 can serve: {"layers", "of", "macs_share"}."""
    share = f"{100 * eligible['macs_share']:.0f} % of the multiply-accumulates"
    return f"2:4 fits {eligible['layers']} of {eligible['of']} layers, {share}"


def _row(point: dict[str, Any], split: str) -> tuple[str, ...]:
    found = point["metrics"][split]
    low, high = wilson_interval(found["right"], found["images"])
    return (
        f"{100 * point['share']:.1f} %",
        f"{100 * found['right'] / found['images']:.1f} %",
        f"{100 * low:.1f} to {100 * high:.1f}",
    )


def _file(gain: dict[str, Any]) -> str:
    dense = gain["dense"]
    own = f"file in {gain['precision']}: {gain['packed_bytes'] / 1e6:.2f} MB compressed"
    whole = f"{gain['size_bytes'] / 1e6:.2f} MB as it lies there, zeros or not"
    if dense is None:
        return f"{own}, {whole}; {gain['reason']}"
    ratio = gain["packed_bytes"] / dense["packed_bytes"]
    return f"{own} (zlib), dense {dense['packed_bytes'] / 1e6:.2f} MB: {ratio:.2f} of it; {whole}"


def _latency(gain: dict[str, Any], target: str) -> str:
    clock = gain["latency"]
    if clock is None:
        return f"latency on {target}: not measured ({gain['reason']})"
    ratio = f"{clock['ratio']:.2f} of the dense network's ({clock['low']:.2f} to {clock['high']:.2f})"
    said = f"latency on {target}: {ratio}, {gain['engine']}, in turns"
    return f"{said}: no speed-up on this target" if clock["high"] > _WORTH else said


def _damaged(error: Exception) -> ArtifactError:
    return ArtifactError(f"the record of sparsity is damaged: {error!r}", "compress again with --sparsity")
