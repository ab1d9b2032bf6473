"""From a JPEG's bytes to its label: the bundle against torchvision's transforms with ONNX Runtime in float.

    python benchmarks/jpeg_to_label.py RUN BUNDLE [BUNDLE ...] [--data DATA] [--seconds S]

One thread, everything in turns in one process, the same bytes for all: photographs of DATA (RUN's own by default) at
their own size, and enlarged to 1920 x 1080. The other side is what most inference scripts do: `PIL.Image.open`, resize
of the short side (bilinear, antialiased: the default), centre crop, tensor, normalisation, ONNX Runtime on the float
file. Bundles run in every engine for CPUs that is installed. The ratio is bundle / other side.
"""

from __future__ import annotations

import argparse
import io
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from parts.cpu_peers import open_onnxruntime, write_float
from parts.machine import machine_line, use_cores, versions_of
from PIL import Image
from torchvision.transforms import v2

from edgexfer import load
from edgexfer.backends import missing_here
from edgexfer.core.bundle import Bundle, open_bundle
from edgexfer.gate.judge.interval import ratio
from edgexfer.gate.measure.turns import Blocks, Side, Turns
from edgexfer.train.checkpoint import Checkpoint, open_checkpoint
from edgexfer.train.finetune import dataset_of

IMAGES = 16
OTHERS = "torchvision, ONNX Runtime float"


def main() -> None:
    """Prints a table for each size."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", nargs="?", type=Path)
    parser.add_argument("bundles", nargs="*", type=Path, metavar="BUNDLE")
    parser.add_argument("--data", type=Path)
    parser.add_argument("--seconds", type=float, default=10.0, help="for each side")
    arguments = parser.parse_args()
    if not arguments.bundles:
        print("skipped: RUN and its bundle were not given (python benchmarks/jpeg_to_label.py RUN BUNDLE)")
        return
    torch.set_num_threads(1)
    checkpoint = open_checkpoint(arguments.run)
    bundles = [open_bundle(one) for one in arguments.bundles]
    root = dataset_of(checkpoint, arguments.data).root
    rows = [row for row in checkpoint.rows if row.split != "train"]
    files = [(root / row.path).read_bytes() for row in rows[:: max(1, len(rows) // IMAGES)]]
    with tempfile.TemporaryDirectory() as folder:
        plain = write_float(checkpoint.float_network(), checkpoint.preprocess.height, Path(folder) / "float.onnx")
        measure("as they are", files, checkpoint, bundles, plain, arguments.seconds)
        measure("1920 x 1080", [enlarged(data) for data in files], checkpoint, bundles, plain, arguments.seconds)
    print("\n" + machine_line(use_cores(1), versions_of("onnxruntime", "openvino", "torchvision", "pillow", "numpy")))


def measure(
    title: str, files: list[bytes], checkpoint: Checkpoint, bundles: list[Bundle], plain: Path, seconds: float
) -> None:
    """Times all sides in turns on the same bytes and prints their table."""
    openers: dict[str, Any] = {OTHERS: partial(_side, others(checkpoint, plain), files)}
    for bundle in bundles:
        for engine in ("ort", "openvino"):
            if missing_here(engine) is None:
                openers[f"{bundle.folder.name}, {engine}"] = partial(_bundle_side, bundle, engine, files)
    turns = Turns(list(openers.values()), threads=1)
    while turns.seconds < seconds * len(openers):
        turns.more()
    samples: dict[str, Blocks] = dict(zip(openers, turns.sides, strict=True))
    sizes = sorted({Image.open(io.BytesIO(data)).size for data in files})
    print(f"\n{title}: {len(files)} JPEGs of {sizes[0]} to {sizes[-1]} pixels\n")
    print("| | p50 ms | p95 ms | ratio (95 % confidence) |\n|---|---|---|---|")
    for name, calls in samples.items():
        p50, p95 = np.percentile(calls["total"], [50, 95]) / 1e6
        found = ratio(calls, samples[OTHERS], lambda one: float(np.median(one["total"])), confidence=0.95)
        interval = "" if name == OTHERS else f"{found.value:.3f} ({found.low:.3f} to {found.high:.3f})"
        print(f"| {name} | {p50:.2f} | {p95:.2f} | {interval} |", flush=True)


def others(checkpoint: Checkpoint, plain: Path) -> Callable[[bytes], int]:
    """Returns torchvision's way from bytes to a class id."""
    side = checkpoint.preprocess.height
    network = checkpoint.float_network()
    zero, scale = (torch.as_tensor(one).flatten().expand(3) for one in (network.pixel_zero, network.pixel_scale))
    transform = v2.Compose(
        [
            v2.Resize(side),
            v2.CenterCrop(side),
            v2.PILToTensor(),
            v2.ToDtype(torch.float32, scale=True),
            v2.Normalize((zero / 255).tolist(), (1 / (255 * scale)).tolist()),
        ]
    )
    run = open_onnxruntime(plain, 1)

    def classify(data: bytes) -> int:
        image = Image.open(io.BytesIO(data)).convert("RGB")
        return int(run(transform(image)[None].numpy()).argmax())

    return classify


def enlarged(data: bytes) -> bytes:
    """Returns the middle of a photograph as a JPEG of 1920 x 1080 pixels."""
    image = Image.open(io.BytesIO(data)).convert("RGB")
    scale = max(1920 / image.width, 1080 / image.height)
    width, height = min(1920 / scale, image.width), min(1080 / scale, image.height)
    left, top = (image.width - width) / 2, (image.height - height) / 2
    box = (left, top, left + width, top + height)
    buffer = io.BytesIO()
    image.resize((1920, 1080), Image.Resampling.BICUBIC, box=box).save(buffer, "JPEG", quality=90)
    return buffer.getvalue()


@contextmanager
def _bundle_side(bundle: Bundle, engine: str, files: list[bytes]) -> Iterator[Side]:
    with load(bundle, backend=engine, threads=1) as classifier, _side(classifier, files) as side:
        yield side


@contextmanager
def _side(classify: Callable[[bytes], Any], files: list[bytes]) -> Iterator[Side]:
    def call(index: int) -> dict[str, int]:
        began = time.perf_counter_ns()
        classify(files[index % len(files)])
        return {"total": time.perf_counter_ns() - began}

    yield call


if __name__ == "__main__":
    main()
