"""A set of very many images: does it come in once, at a steady rate, and does training keep its memory flat?

    python benchmarks/large_set.py [--images 200000] [--steps 200]

Images are made in a temporary folder: JPEGs of 64 to 100 pixels a side in ten classes, each another crop and gain of
a tinted texture, so that no two are copies. Then `finetune` runs as a user would start it, with random weights: what is
measured does not depend on them. A thread reads /proc/self/status five times a second.

Two kinds of resident memory are told apart. "own" is RssAnon: what the process has allocated. "mapped" is RssFile:
pages of files, here mostly those of the pixel cache in its temporary file, which the kernel takes back when it needs
them. Only the first can run out. Exit code 1 where own memory grows by more than a limit over the steps.
"""

from __future__ import annotations

import argparse
import io
import logging
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from parts.machine import machine_line, versions_of
from PIL import Image

from edgexfer.core.threads import cpu_count

CLASSES = 10
LIMIT_MIB = 50.0
"""Own memory may grow by so much over all steps: one batch of 32 images at 64 pixels, kept as floats, is 1.5 MiB."""
_TEXTURE_SIDE = 2048


@dataclass(frozen=True)
class Reading:
    """Resident memory of this process at one moment: seconds since the start, MiB."""

    second: float
    own_mib: float
    mapped_mib: float


class Phases(logging.Handler):
    """Notes when the library says that it begins something."""

    def __init__(self) -> None:
        super().__init__(logging.INFO)
        self.said: list[tuple[float, str]] = []

    def emit(self, record: logging.LogRecord) -> None:
        """Keeps the line with its time."""
        self.said.append((time.monotonic(), record.getMessage()))
        print(f"  {record.getMessage()}", flush=True)

    def first(self, words: str) -> float:
        """Returns when a line with `words` in it was said first."""
        return next(at for at, line in self.said if words in line)


def main() -> int:
    """Makes the images, trains, prints the table and returns the exit code."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--images", type=int, default=200_000)
    parser.add_argument("--steps", type=int, default=200)
    parser.add_argument("--input-size", type=int, default=64)
    parser.add_argument("--backbone", default="mobilenetv2-050")
    parser.add_argument("--folder", type=Path, help="where the images go; a temporary folder by default")
    arguments = parser.parse_args()
    if not Path("/proc/self/status").exists():
        print("skipped: /proc/self/status is not here, it says how memory is used (Linux alone has it)")
        return 0
    with tempfile.TemporaryDirectory(dir=arguments.folder) as name:
        folder = Path(name)
        began = time.monotonic()
        size_bytes = make_images(folder / "images", arguments.images)
        print(f"{arguments.images} images of {size_bytes >> 20} MiB in {time.monotonic() - began:.0f} s", flush=True)
        return 0 if measured(folder, arguments) else 1


def make_images(root: Path, images: int) -> int:
    """Writes the JPEGs into class folders and returns how many bytes they have."""
    rng = np.random.default_rng(0)
    coarse = rng.integers(0, 256, (_TEXTURE_SIDE // 16, _TEXTURE_SIDE // 16, 3), dtype=np.uint8)
    texture = np.asarray(Image.fromarray(coarse).resize((_TEXTURE_SIDE, _TEXTURE_SIDE), Image.Resampling.BICUBIC))
    tints = rng.integers(-60, 61, (CLASSES, 3))
    for kind in range(CLASSES):
        (root / f"class{kind}").mkdir(parents=True)

    def one(number: int) -> int:
        own = np.random.default_rng(number)
        width, height = own.integers(64, 101, 2)
        top, left = own.integers(0, _TEXTURE_SIDE - 100, 2)
        part = texture[top : top + height, left : left + width] * own.uniform(0.6, 1.2) + tints[number % CLASSES]
        buffer = io.BytesIO()
        Image.fromarray(part.clip(0, 255).astype(np.uint8)).save(buffer, "JPEG", quality=85)
        data = buffer.getvalue()
        (root / f"class{number % CLASSES}" / f"{number:07}.jpg").write_bytes(data)
        return len(data)

    with ThreadPoolExecutor(cpu_count()) as pool:
        return sum(sum(pool.map(one, range(at, min(at + 4096, images)))) for at in range(0, images, 4096))


def measured(folder: Path, arguments: argparse.Namespace) -> bool:
    """Trains on the images, prints the table and returns whether memory stayed flat."""
    from edgexfer.train.finetune import finetune
    from edgexfer.train.loop.trainee import Trainee
    from edgexfer.train.settings import FinetuneSettings

    settings = FinetuneSettings(
        backbone=arguments.backbone,
        weights="none",
        strategy="finetune",
        steps=arguments.steps,
        input_size=arguments.input_size,
        mirror=False,
        temperature_scaling=False,
    )
    phases, log = Phases(), logging.getLogger("edgexfer")
    log.setLevel(logging.INFO)
    log.addHandler(phases)
    steps: list[float] = []
    step = Trainee.training_step

    def timed(trainee: Trainee, batch: int, batch_idx: int) -> Any:
        steps.append(time.monotonic())
        return step(trainee, batch, batch_idx)

    Trainee.training_step = timed
    with sampled() as readings:
        start = time.monotonic()
        finetune(folder / "images", folder / "run", settings)
        end = time.monotonic()
    Trainee.training_step = step
    head = phases.first("fitting the head")  # said right after the last image was read and the split was drawn
    parts = {
        "intake: read, hash, decode, divide": (start, head),
        "head, first validation": (head, steps[0]),
        f"{len(steps)} steps": (steps[0], steps[-1]),
        "validation, figures": (steps[-1], end),
    }
    print(f"\n{'':38} {'s':>7} {'images/s':>9} {'own MiB':>8} {'mapped MiB':>11}   (peaks)")
    for title, (first, last) in parts.items():
        within = [reading for reading in readings if first <= reading.second <= last]
        seen = {"i": arguments.images, str(len(steps))[0]: len(steps) * settings.batch_size}.get(title[0])
        rate = " " * 9 if seen is None else f"{seen / (last - first):9.0f}"
        own, mapped = (max((getattr(r, name) for r in within), default=0.0) for name in ("own_mib", "mapped_mib"))
        print(f"{title:38} {last - first:7.1f} {rate} {own:8.0f} {mapped:11.0f}")
    growth = growth_mib([reading for reading in readings if steps[0] <= reading.second <= steps[-1]])
    flat = growth <= LIMIT_MIB
    line = machine_line(cpu_count(), versions_of("torch", "lightning", "pillow", "numpy"))
    print(
        f"\nown memory over the {len(steps)} steps: {growth:+.1f} MiB by a line through the readings, its first "
        f"fifth left out; limit {LIMIT_MIB:.0f} MiB: {'flat' if flat else 'GROWS'}\n{line}"
    )
    return flat


def growth_mib(readings: list[Reading]) -> float:
    """Returns by how much own memory grew from the first to the last reading, by a least-squares line.

    The first fifth is left out: buffers for activations and optimizer are made in the first steps.
    """
    settled = readings[len(readings) // 5 :]
    if len(settled) < 3:
        return 0.0
    seconds = np.array([reading.second for reading in settled])
    slope = np.polyfit(seconds - seconds[0], [reading.own_mib for reading in settled], 1)[0]
    return float(slope * (seconds[-1] - seconds[0]))


@contextmanager
def sampled(every_s: float = 0.2) -> Iterator[list[Reading]]:
    """Reads this process's memory in a thread while the block runs."""
    readings: list[Reading] = []
    done = threading.Event()

    def sample() -> None:
        while not done.wait(every_s):
            fields = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines())
            own, mapped = (int(fields[name].split()[0]) / 1024 for name in ("RssAnon", "RssFile"))
            readings.append(Reading(time.monotonic(), own, mapped))

    thread = threading.Thread(target=sample, daemon=True)
    thread.start()
    try:
        yield readings
    finally:
        done.set()
        thread.join()


if __name__ == "__main__":
    sys.exit(main())
