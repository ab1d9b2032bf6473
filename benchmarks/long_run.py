"""Predicts a million times from many threads and says whether anything grew, went wrong or was lost on the way.

    python benchmarks/long_run.py [--bundle BUNDLE] [--threads 8] [--fake 1000000] [--ort 200000]

Without BUNDLE a network of four convolutions for 32 x 32 pixels is written beforehand, so that it ends within minutes.
Resident memory is read after the first 10,000 predictions and then every 10,000; the answer to each image is compared
with that which one thread got, bit by bit. Exit code 1 where a figure is not what docs/reliability.md promises.
"""

from __future__ import annotations

import argparse
import itertools
import os
import sys
import tempfile
import threading
import time
from pathlib import Path

import numpy as np
from runtime_overhead import small_bundle

from edgexfer import Classifier, load

_SETTLED = 10_000
_MOST_GROWTH_BYTES = 5_000_000
_IMAGES = 64
_SIDE = 32
_TENS = 10


def main() -> int:
    """Runs each backend and prints one row for each."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--bundle", type=Path)
    parser.add_argument("--threads", type=int, default=8)
    parser.add_argument("--fake", type=int, default=1_000_000)
    parser.add_argument("--ort", type=int, default=200_000)
    asked = parser.parse_args()
    good = True
    print(
        "| backend | predictions | threads | other answers | MB after 10,000 | largest growth MB | descriptors lost |"
    )
    print("|---|---|---|---|---|---|---|")
    with tempfile.TemporaryDirectory() as folder:
        bundle = asked.bundle or small_bundle(Path(folder) / "small.edgx", _SIDE)
        for backend, predictions in (("fake", asked.fake), ("ort", asked.ort)):
            if predictions:
                with load(bundle, backend=backend, threads=1) as classifier:
                    good &= long_run(classifier, predictions, asked.threads)
    return 0 if good else 1


def long_run(classifier: Classifier, predictions: int, threads: int) -> bool:
    """Predicts from `threads` threads, prints the row, and returns whether it is as promised."""
    size = (classifier.preprocess.height, classifier.preprocess.width)
    images = np.random.default_rng(0).integers(0, 256, (_IMAGES, *size, 3), dtype=np.uint8)
    expected = [classifier(image).probabilities.tobytes() for image in images]
    turns = itertools.count()  # next() of it is atomic
    wrong, memory = [], []
    descriptors = _descriptors()
    started = time.monotonic()

    def work() -> None:
        while (turn := next(turns)) < predictions:
            if classifier(images[turn % _IMAGES]).probabilities.tobytes() != expected[turn % _IMAGES]:
                wrong.append(turn)
            if turn and turn % _SETTLED == 0:
                memory.append(_resident_bytes())
                if turn % (_TENS * _SETTLED) == 0:
                    rate = turn / (time.monotonic() - started)
                    print(f"{classifier.backend}: {turn:,} at {rate:.0f} a second", file=sys.stderr, flush=True)

    workers = [threading.Thread(target=work) for _ in range(threads)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    memory.append(_resident_bytes())
    growth, lost = max(memory) - memory[0], _descriptors() - descriptors
    figures = (classifier.backend, f"{predictions:,}", threads, len(wrong), f"{memory[0] / 1e6:.1f}")
    print(f"| {' | '.join(map(str, figures))} | {growth / 1e6:.2f} | {lost} |", flush=True)
    return not wrong and growth <= _MOST_GROWTH_BYTES and lost == 0


def _resident_bytes() -> int:
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def _descriptors() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


if __name__ == "__main__":
    sys.exit(main())
