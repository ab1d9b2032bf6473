"""Summary: the handful of figures at the top of the page, each with what puts it into perspective."""

from __future__ import annotations

import math
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

from edgexfer.core.kept import kept_instead
from edgexfer.gate.measure.measured import Measured
from edgexfer.gate.report.content import Tile


def bundle_tiles(first: Measured | None, shipped: Measured | None) -> list[Tile]:
    """Returns the summary of a bundle.

    Args:
        first: the most precise of what was not shipped, or None.
        shipped: what the bundle holds, or None where nothing was measured.
    """
    if shipped is None:
        return []
    judged = shipped.evaluation
    low, high = judged.top1_interval
    tiles = [
        Tile(
            "Top-1", percent(judged.top1),
            f"{percent(low, 1)} to {percent(high, 1)} on images like these (95 %), from {len(judged.images):,} images",
        ),
        _latency(first, shipped),
        _size(first, shipped),
    ]  # fmt: skip
    if first is not None:
        tiles.append(_difference(first, shipped))
    known = {label: recall for label, recall in judged.recall.items() if math.isfinite(recall)}
    if known:
        label = min(known, key=lambda name: known[name])
        tiles.append(Tile("Weakest class", percent(known[label], 1), f"recall of {label}"))
    tiles.append(Tile("Calibration error", percent(judged.ece), "how far scores lie from the accuracy they promise"))
    return tiles


def checkpoint_tiles(
    manifest: dict[str, Any],
    split: str,
    judged: dict[str, Any],
    last_epochs: Mapping[str, int] = MappingProxyType({}),
) -> list[Tile]:
    """Returns the summary of a checkpoint.

    Args:
        manifest: of the checkpoint.
        split: of the images that judged it, "test" or "val"; "" where that was not recorded.
        judged: their figures.
        last_epochs: the number of the last epoch of each stage in its history.
    """
    on = f"on {judged.get('images', '')} {split} images".replace("  ", " ") if split else ""
    before = (manifest.get("float_metrics") or {}).get(split) or {}
    tiles = []
    unscaled = ((manifest.get("temperature") or {}).get("before") or {}).get(split) or {}
    names = (("top1", "Top-1"), ("macro_f1", "Macro F1"), ("calibration_error", "Calibration error"))
    for key, name in (*names, ("ece", "Calibration error")):
        if _is_number(judged.get(key)):
            note = f"{on}; float {percent(before[key])}" if _is_number(before.get(key)) else on
            if not before and _is_number(unscaled.get(key)):
                note += f"; {percent(unscaled[key])} before temperature scaling"
            tiles.append(Tile(name, percent(judged[key]), note))
    if _is_number(manifest.get("best_epoch")):
        best = "the best on val" if manifest.get("quantization") is None else "the closest to the float network"
        tiles.append(Tile("Epoch kept", str(manifest["best_epoch"]), kept_instead(manifest, last_epochs) or best))
    if weights := manifest.get("files", {}).get("weights.safetensors"):
        tiles.append(Tile("Weights", size(int(weights["size_bytes"])), str(manifest.get("precision", ""))))
    return tiles


def percent(share: float, digits: int = 2) -> str:
    """Returns a fraction in percent; "–" for nan."""
    return f"{100 * share:.{digits}f} %" if math.isfinite(share) else "–"


def size(size_bytes: int) -> str:
    """Returns a number of bytes in kB or MB (1,000 and 1,000,000 bytes)."""
    return f"{size_bytes / 1e6:.2f} MB" if size_bytes >= 100_000 else f"{size_bytes / 1e3:.1f} kB"


def _latency(first: Measured | None, shipped: Measured) -> Tile:
    if shipped.latency is None or not shipped.latency.samples_ns.get("total"):
        return Tile("Latency p50", "–", "not measured on the machine that exported")
    middle, late = (shipped.latency.percentile("total", q) / 1e6 for q in (50, 95))
    note = f"one whole prediction; p95 {late:.2f} ms"
    if first is not None and first.latency is not None and first.latency.samples_ns.get("total"):
        factor = first.latency.percentile("total", 50) / 1e6 / middle
        words = f"{factor:.2f} × as fast as" if factor >= 1 else f"{1 / factor:.2f} × slower than"
        note += f"; {words} {first.precision}"
    return Tile("Latency p50", f"{middle:.2f} ms", note)


def _size(first: Measured | None, shipped: Measured) -> Tile:
    note = f"{shipped.precision} ONNX file"
    if first is not None and shipped.size_bytes:
        note += f"; {first.precision} has {first.size_bytes / shipped.size_bytes:.1f} × as many bytes"
    return Tile("Size", size(shipped.size_bytes), note)


def _difference(first: Measured, shipped: Measured) -> Tile:
    answers = {(i.path, i.sha256): i.predicted for i in first.evaluation.images}
    shared = [i for i in shipped.evaluation.images if (i.path, i.sha256) in answers]
    flips = sum(answers[i.path, i.sha256] != i.predicted for i in shared)
    change = 100 * (shipped.evaluation.top1 - first.evaluation.top1)
    value = f"{change:+.2f}" if math.isfinite(change) else "–"
    note = f"points of top-1; {flips:,} of {len(shared):,} answers differ"
    return Tile(f"{shipped.precision} against {first.precision}", value, note)


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)
