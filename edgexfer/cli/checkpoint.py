"""How a checkpoint is told: figures by split, the classes it misses most, what was left out, what to be wary of."""

from __future__ import annotations

import csv
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from edgexfer.cli import show
from edgexfer.core.kept import kept_instead

_LISTED = 10
_WEAKEST = 5
_FEW = 50


def print_checkpoint(folder: Path, manifest: dict[str, Any]) -> None:
    """Prints a summary of the checkpoint in `folder`.

    Args:
        folder: where it lies.
        manifest: its `manifest.json`, as edgexfer/train/checkpoint.py has it.
    """
    metrics, preprocess = manifest["metrics"], manifest["preprocess"]
    show.line()
    show.line(f"{folder}", "bold")
    show.line(
        f"{manifest['backbone']} at {preprocess['width']}x{preprocess['height']} pixels, {manifest['precision']}, "
        f"{len(manifest['labels'])} classes"
    )
    show.line(_kept(manifest, folder / "history.csv"))
    _print_figures(metrics, manifest.get("float_metrics") or {})
    _print_temperature(manifest.get("temperature"), quantized=manifest["quantization"] is not None)
    for line in (manifest.get("strategy_notes") or {}).get("guards", ()):
        show.line(line)
    judged = "test" if "test" in metrics else "val"
    _print_weakest(manifest["labels"], metrics[judged]["confusion"], judged)
    _print_left_out(manifest.get("images_left_out") or [])
    for text in _warnings(manifest["labels"], metrics, judged):
        show.warn(text)


def _kept(manifest: dict[str, Any], history: Path) -> str:
    with history.open(encoding="utf-8", newline="") as file:
        last = {row["stage"]: int(row["epoch"]) for row in csv.DictReader(file)}
    epoch = f"epoch {manifest['best_epoch']} of {max(last.values(), default=0)}"
    return f"kept: {kept_instead(manifest, last) or epoch}"


def _print_figures(metrics: dict[str, Any], before: dict[str, Any]) -> None:
    more = ("float", "loss") if before else ()
    headings = ("images", "top-1", *more, "macro F1", "calibr. error")
    made = show.table("split", *headings, right=headings)
    for split, figures in metrics.items():
        compared: tuple[str, ...] = ()
        if before:
            compared = (show.percent(before[split]["top1"]), points(before[split]["top1"] - figures["top1"]))
        made.add_row(
            split,
            str(figures["images"]),
            show.percent(figures["top1"]),
            *compared,
            show.percent(figures["macro_f1"]),
            show.percent(figures["calibration_error"]),
        )
    show.console().print(made)


def _print_temperature(record: dict[str, Any] | None, *, quantized: bool) -> None:
    if record is None:
        return
    divided = f"scores: made honest by a temperature of {record['temperature']:.2f}"
    if quantized:
        show.line(f"{divided}, which the float network was given")
        return
    changes = [
        f"{split} {show.percent(figures['calibration_error'])} -> "
        f"{show.percent(record['after'][split]['calibration_error'])}"
        for split, figures in record["before"].items()
    ]
    images = show.count(record["images"], "validation image")
    show.line(f"{divided}, fitted on {images}; calibration error {', '.join(changes)}")


def points(difference: float) -> str:
    """Returns "0.7 points" for a difference of two fractions; never "-0.0"."""
    return f"{round(100 * difference, 1) + 0.0:.1f} points"


def _print_weakest(labels: list[str], confusion: list[list[int]], split: str) -> None:
    rows = [(row[i] / sum(row), i, row) for i, row in enumerate(confusion) if sum(row)]
    weak = [(recall, i, row) for recall, i, row in sorted(rows, key=lambda item: item[:2]) if recall < 1]
    if not weak:
        return
    show.line(f"found least often ({split})", "bold")
    shown = weak[:_WEAKEST]
    width = max(len(show.printable(labels[i])) for _, i, _ in shown)
    for recall, i, row in shown:
        others = [0 if j == i else count for j, count in enumerate(row)]
        taken = others.index(max(others))
        show.line(
            f"  {show.printable(labels[i]):<{width}}  {show.percent(recall):>7}  {row[i]} of {sum(row)}; "
            f"{others[taken]} taken for {labels[taken]}"
        )
    if len(weak) > _WEAKEST:
        show.line(f"  and {show.count(len(weak) - _WEAKEST, 'class', 'classes')} more that are not always found", "dim")


def _print_left_out(rejected: list[dict[str, str]]) -> None:
    if not rejected:
        return
    show.line(f"left out: {show.count(len(rejected), 'file')}", "bold")
    for item in rejected[:_LISTED]:
        show.line(f"  {item['path']} {item['reason']}")
    if len(rejected) > _LISTED:
        show.line(f"  and {len(rejected) - _LISTED} more; manifest.json lists all", "dim")


def _warnings(labels: list[str], metrics: dict[str, Any], judged: str) -> Iterator[str]:
    if judged == "val":
        yield "there are no test images: val chose the epoch that was kept, so its figures flatter a little"
    absent = [label for label, row in zip(labels, metrics[judged]["confusion"], strict=True) if not sum(row)]
    if absent:
        more = f" and {len(absent) - _WEAKEST} more" if len(absent) > _WEAKEST else ""
        yield f"{judged} has no image of {', '.join(absent[:_WEAKEST])}{more}: how often they are found is unknown"
    images = metrics[judged]["images"]
    if images < _FEW:
        yield f"{judged} has only {show.count(images, 'image')}: one more or less is {points(1 / images)} of top-1"
