"""`edgexfer finetune` with its defaults, timed by the clock that the peers have.

    python benchmarks/runners/edgexfer_finetune.py IMAGES.csv [--strategy auto] [--size N]

The stage that the command calls runs in this process; RUN.partial/history.csv, which it writes anew after every
evaluation, is watched from a thread, and each new row is told with the time at which it was there. Reading,
checking, hashing and decoding the images count, and so do features, head, transferability and whatever auto tries out.
"""

from __future__ import annotations

import argparse
import csv
import importlib.metadata
import platform
import sys
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import fields
from pathlib import Path

from given import Clock, clock_of

from edgexfer.train.finetune import finetune
from edgexfer.train.settings import FinetuneSettings

RUNNER = "edgexfer"
_LOOK_EVERY_SECONDS = 0.02


def main() -> None:
    """Trains, and tells of every evaluation."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("images", type=Path, help="CSV with path,label,split")
    parser.add_argument("--strategy", help="instead of edgexfer's default")
    parser.add_argument("--size", type=int, help="side of the square input in pixels; by default the images decide")
    parser.add_argument("--epochs", type=int, help="at most; by default the strategy decides")
    parser.add_argument("--backbone", help="instead of edgexfer's default")
    parser.add_argument("--weights", help="instead of the backbone's own")
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    given = {
        "strategy": arguments.strategy,
        "input_size": arguments.size,
        "epochs": arguments.epochs,
        "backbone": arguments.backbone,
        "weights": arguments.weights,
    }
    settings = FinetuneSettings(seed=arguments.seed, **{name: value for name, value in given.items() if value})
    with tempfile.TemporaryDirectory() as folder, clock_of(RUNNER) as clock:
        out = Path(folder) / "run"
        with watched(out.with_name("run.partial") / "history.csv", out, clock):
            made = finetune(arguments.images, out, settings)
        seconds = clock.seconds()
        figures, notes = made.manifest["metrics"], made.manifest.get("strategy_notes") or {}
        clock.done(
            seconds,
            size=made.preprocess.height,
            kept=figures["val"]["top1"],
            test=figures["test"]["top1"] if "test" in figures else None,
            recipe=f"strategy {settings.strategy}; keeps its best epoch, {made.manifest['best_epoch']} of the history",
            notes=notes,
            settings={item.name: getattr(settings, item.name) for item in fields(settings)},
            versions={
                "Python": platform.python_version(),
                **{name: importlib.metadata.version(name) for name in ("torch", "torchvision", "timm", "lightning")},
            },
        )


@contextmanager
def watched(history: Path, finished: Path, clock: Clock) -> Iterator[None]:
    """Tells of the rows of `history` as they come, while the block runs; it ends up in the folder `finished`."""
    told, over = 0, threading.Event()

    def look(file: Path) -> None:
        nonlocal told
        try:
            rows = list(csv.DictReader(file.read_text(encoding="utf-8").splitlines()))
        except FileNotFoundError:  # before the first row, or after the run was finished
            return
        for row in rows[told:]:
            clock.evaluated(int(row["epoch"]), float(row["val_top1"]))
        told = max(told, len(rows))

    def keep_looking() -> None:
        while not over.wait(_LOOK_EVERY_SECONDS):
            look(history)

    thread = threading.Thread(target=keep_looking, daemon=True)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()
    look(finished / history.name)  # a row that came and went between two looks


if __name__ == "__main__":
    sys.exit(main())
