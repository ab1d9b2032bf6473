"""What a network keeps of old classes while it learns new ones: `--strategy update` against plain fine-tuning.

    python benchmarks/update.py [signs] [--draws N]

Five classes are learned first, then the other five; the second training is given images of the new classes alone, and
the list of the first images is removed, so that of these there is what the checkpoint itself carries. Both ways go on
from the same checkpoint, and so end with ten outputs that compete on every image. Judged on the test part of edgexfer's
own division (70/15/15), which takes no part in either training. A network that learned all ten at once says what could
be had. The aim is that accuracy on the first five falls by at most 3 points.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from parts.draws import draw_arguments, over_draws
from parts.images import write_images
from parts.judged import top1_on
from parts.machine import machine_line, use_cores, versions_of

from edgexfer.core.intake import Usable
from edgexfer.train.finetune import finetune
from edgexfer.train.images.split import make_split
from edgexfer.train.settings import FinetuneSettings

FALL_POINTS = 3.0  # aimed at: at most
_WAYS = ("update", "finetune", "all at once")
_FIRST = "first classes alone"


def main() -> int:
    """Trains, judges and prints the table."""
    arguments = _arguments()
    cores = use_cores(arguments.cores)
    found = over_draws(one_draw, arguments)
    if not found:
        return 0
    print(f"{table(found)}\n\n- {verdict(found)}\n")
    print(machine_line(cores, versions_of("torch", "torchvision", "timm", "scikit-learn", "lightning")))
    return 0


def one_draw(
    given: Sequence[Usable], seed: int, folder: Path, arguments: argparse.Namespace
) -> dict[str, dict[str, float]]:
    """Learns the first half of the classes, then the second in each way; returns top-1 on each half, and seconds."""
    folder.mkdir()
    labels = sorted({item.sample.label for item in given})
    old = set(labels[: len(labels) // 2])
    split_of = {row.path: row.split for row in make_split(given, seed=seed)}
    training = [item for item in given if split_of[item.name] != "test"]
    test = [item for item in given if split_of[item.name] == "test"]
    halves = {
        "first": [(item.sample.path, item.sample.label) for item in test if item.sample.label in old],
        "second": [(item.sample.path, item.sample.label) for item in test if item.sample.label not in old],
    }
    csvs = {name: folder / f"{name}.csv" for name in ("first", "second", "all")}
    wanted = {"first": lambda label: label in old, "second": lambda label: label not in old, "all": lambda _: True}
    for name, file in csvs.items():
        rows = [(item, split_of[item.name]) for item in training if wanted[name](item.sample.label)]
        write_images(file, rows)
    start = folder / "start"
    recipes: dict[str, tuple[Path, dict[str, Any], Path | None]] = {
        _FIRST: (csvs["first"], {"strategy": arguments.first_strategy}, None),
        "update": (csvs["second"], {"strategy": "update"}, start),
        "finetune": (csvs["second"], {"strategy": "finetune"}, start),
        "all at once": (csvs["all"], {"strategy": arguments.first_strategy}, None),
    }
    result = {}
    for name, (listed, own, before) in recipes.items():
        limits = {"epochs": arguments.epochs, "input_size": None if before else arguments.size}
        given_settings = {key: value for key, value in {**own, **limits}.items() if value is not None}
        out = start if name == _FIRST else folder / name.replace(" ", "-")
        began = time.perf_counter()
        made = finetune(listed, out, FinetuneSettings(seed=seed, **given_settings), start=before)
        seconds = time.perf_counter() - began
        known = {part: images for part, images in halves.items() if name != _FIRST or part == "first"}
        result[name] = {"seconds": seconds, **{part: top1_on(made, images) for part, images in known.items()}}
        if name == _FIRST:
            listed.unlink()  # from here on there is only what the checkpoint itself carries
        print(f"draw {seed}, {name}: {result[name]}", file=sys.stderr)
    return result


def table(found: dict[str, list[dict[str, float]]]) -> str:
    """Returns a Markdown table; figures are means over the draws."""
    heads = "| | top-1 on the first classes | fallen by, points | worst draw | on the second | s |"
    lines = [heads, "|---|---|---|---|---|---|"]
    for name in (_FIRST, *_WAYS):
        first, second = (_mean(found[name], part) for part in ("first", "second"))
        falls = _falls(found, name)
        fallen = f"{statistics.mean(falls):.2f} | {max(falls):.2f}" if name != _FIRST else " | "
        seconds = statistics.mean(row["seconds"] for row in found[name])
        lines.append(f"| {name} | {_percent(first)} | {fallen} | {_percent(second)} | {seconds:.0f} |")
    return "\n".join(lines)


def verdict(found: dict[str, list[dict[str, float]]]) -> str:
    """Returns whether the aim is reached, in words."""
    update, plain = (statistics.mean(_falls(found, name)) for name in ("update", "finetune"))
    word = "**reached**" if update <= FALL_POINTS + 1e-6 else "**missed**"
    return (
        f"accuracy on the first classes falls by {update:.2f} points with update (aim: {FALL_POINTS:g} at most: "
        f"{word}), by {plain:.2f} with plain fine-tuning; draws: {len(found['update'])}"
    )


def _falls(found: dict[str, list[dict[str, float]]], name: str) -> list[float]:
    return [100 * (before["first"] - after["first"]) for before, after in zip(found[_FIRST], found[name], strict=True)]


def _mean(rows: list[dict[str, float]], name: str) -> float | None:
    return statistics.mean(row[name] for row in rows) if all(name in row for row in rows) else None


def _percent(share: float | None) -> str:
    return "" if share is None else f"{100 * share:.2f} %"


def _arguments() -> argparse.Namespace:
    parser = draw_arguments(__doc__)
    parser.add_argument("--first-strategy", default="finetune", help="what learns the first classes, and all at once")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
