"""How much of what a change of light costs comes back without labels: `--strategy adapt` on signs.

    python benchmarks/adapt.py [signs] [--shift dusk glare] [--draws N]

Half of the images is the source: edgexfer divides it, trains and validates on it. The other half is the target, after a
stated transform (`SHIFTS` below); seven tenths of it are given without labels, and top-1 on the other three is what
the table says, before and after. The same images without the transform say how much was lost. The aim is that half
of that comes back. Where edgexfer refuses to ship what it adapted, nothing comes back: the network stays as it was.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from parts.draws import draw_arguments, over_draws
from parts.images import write_images
from parts.judged import top1_on
from parts.machine import machine_line, use_cores, versions_of
from PIL import Image

from edgexfer.core.intake import Usable
from edgexfer.train.finetune import finetune
from edgexfer.train.settings import FinetuneSettings

BACK = 0.5  # aimed at: this share of the lost accuracy at least


@dataclass(frozen=True)
class Shift:
    """Of a value v, 0 to 1: (contrast * (v ** gamma - 0.5) + 0.5 + brightness) * cast, then noise."""

    gamma: float
    contrast: float
    brightness: float
    cast: tuple[float, float, float]
    noise: float

    def __call__(self, pixels: NDArray[np.uint8], rng: np.random.Generator) -> NDArray[np.uint8]:
        """Returns the transformed image, uint8 [H, W, 3]."""
        value = (pixels / 255.0) ** self.gamma
        value = (self.contrast * (value - 0.5) + 0.5 + self.brightness) * np.array(self.cast)
        value = value + rng.normal(0.0, self.noise, value.shape)
        return (255 * value.clip(0, 1)).round().astype(np.uint8)


SHIFTS = {
    "dusk": Shift(gamma=2.0, contrast=0.5, brightness=-0.15, cast=(0.6, 0.8, 1.0), noise=0.06),
    "glare": Shift(gamma=0.5, contrast=0.5, brightness=0.25, cast=(1.0, 0.95, 0.75), noise=0.03),
    "night": Shift(gamma=2.5, contrast=0.35, brightness=-0.25, cast=(0.4, 0.7, 1.0), noise=0.10),
    "overexposed": Shift(gamma=0.4, contrast=0.3, brightness=0.35, cast=(1.0, 0.9, 0.6), noise=0.06),
}


@dataclass(frozen=True)
class Found:
    """Top-1 on the target's judged images: without the shift, with it, and with it after adapting."""

    plain: float
    before: float
    after: float
    seconds: float

    @property
    def back(self) -> float:
        """The share of the lost accuracy that came back; 0 where none was lost."""
        lost = self.plain - self.before
        return (self.after - self.before) / lost if lost > 0 else 0.0


def main() -> int:
    """Trains, adapts, judges and prints the table."""
    arguments = _arguments()
    cores = use_cores(arguments.cores)
    found = over_draws(one_draw, arguments)
    if not found:
        return 0
    print(f"{table(found)}\n")
    print("\n".join(f"- {name}: {SHIFTS[name]}" for name in found))
    print(f"\n{machine_line(cores, versions_of('torch', 'torchvision', 'timm', 'scikit-learn', 'lightning'))}")
    return 0


def one_draw(given: Sequence[Usable], seed: int, folder: Path, arguments: argparse.Namespace) -> dict[str, Found]:
    """Trains on one half of the images and adapts to the shifted other half; returns what came of each shift."""
    folder.mkdir()
    source, unlabeled, judged = source_and_target(given, seed)
    images = folder / "source.csv"
    write_images(images, ((item, "") for item in source), with_split=False)
    limits = {"epochs": arguments.epochs, "input_size": arguments.size}
    settings = {key: value for key, value in limits.items() if value is not None}
    start = finetune(images, folder / "start", FinetuneSettings(seed=seed, strategy="finetune", **settings))
    plain = top1_on(start, [(item.sample.path, item.sample.label) for item in judged])
    result = {}
    for name in arguments.shift:
        rng = np.random.default_rng([seed, len(name)])
        write_shifted(unlabeled, SHIFTS[name], rng, folder / name / "unlabeled")
        shown = write_shifted(judged, SHIFTS[name], rng, folder / name / "judged")
        began = time.perf_counter()
        made = finetune(
            images,
            folder / name / "run",
            FinetuneSettings(seed=seed, strategy="adapt"),
            start=start.folder,
            unlabeled=folder / name / "unlabeled",
        )
        seconds = time.perf_counter() - began
        notes = made.manifest.get("strategy_notes") or {}
        result[name] = Found(plain, top1_on(start, shown), top1_on(made, shown), seconds)
        print(f"draw {seed}, {name}: {result[name]}; {notes}", file=sys.stderr)
    return result


def table(found: dict[str, list[Found]]) -> str:
    """Returns a Markdown table; figures are means over the draws."""
    heads = "| shift | top-1 without it | with it | adapted | came back | worst draw | s | aim: 50 % |"
    lines = [heads, "|---|---|---|---|---|---|---|---|"]
    for name, draws in found.items():
        plain, before, after = (
            f"{100 * statistics.mean(values):.2f} %"
            for values in zip(*((one.plain, one.before, one.after) for one in draws), strict=True)
        )
        back, worst = statistics.mean(one.back for one in draws), min(one.back for one in draws)
        word = "**reached**" if back >= BACK else "**missed**"
        seconds = statistics.mean(one.seconds for one in draws)
        shares = f"{100 * back:.0f} % | {100 * worst:.0f} %"
        lines.append(f"| {name} | {plain} | {before} | {after} | {shares} | {seconds:.0f} | {word} |")
    return "\n".join(lines)


def source_and_target(given: Sequence[Usable], seed: int) -> tuple[list[Usable], list[Usable], list[Usable]]:
    """Returns source, unlabeled and judged images, class by class; copies of one image stay in one part."""
    rng = np.random.default_rng(seed)
    parts: tuple[list[Usable], list[Usable], list[Usable]] = ([], [], [])
    for label in sorted({item.sample.label for item in given}):
        items = [item for item in given if item.sample.label == label]
        digests = sorted({item.sha256 for item in items})
        share = dict(zip(digests, rng.permutation(len(digests)) / len(digests), strict=True))
        for item in items:
            place = share[item.sha256]
            parts[0 if place < 0.5 else 1 if place < 0.85 else 2].append(item)
    return parts


def write_shifted(
    items: Sequence[Usable], shift: Shift, rng: np.random.Generator, folder: Path
) -> list[tuple[Path, str]]:
    """Writes the transformed images as PNG files without a hint at their class; returns them with it."""
    folder.mkdir(parents=True)
    written = []
    for number in rng.permutation(len(items)):
        item = items[number]
        with Image.open(item.sample.path) as image:
            pixels = np.asarray(image.convert("RGB"))
        path = folder / f"{number:05d}.png"
        Image.fromarray(shift(pixels, rng)).save(path)
        written.append((path, item.sample.label))
    return written


def _arguments() -> argparse.Namespace:
    parser = draw_arguments(__doc__)
    parser.add_argument("--shift", nargs="+", choices=list(SHIFTS), default=list(SHIFTS))
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
