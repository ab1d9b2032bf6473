"""A bundle's INT8 network against what others make of the same float network for a CPU.

    python benchmarks/int8_latency.py [RUN] [--bundle BUNDLE ...] [--threads 1,2] [--seconds S]

RUN is a float checkpoint; without it one is made from scikit-learn's digits at 224 pixels (head only, a minute).
Without --bundle the INT8 bundle is exported from RUN; where several are given, such as a pruned one, all are timed.
Everything runs in turns in one process. The bundle gets uint8 pixels, in every engine for CPUs that is installed; the
others get what they were made for, prepared outside the clock: normalised float32 planes, LiteRT's INT8 file int8
values. They are ONNX Runtime's `quantize_static` (QDQ, uint8 activations, int8 weights per channel), NNCF's `quantize`
on the OpenVINO model, LiteRT's static quantization where its tools are installed (parts/litert_peer.py), and the float
network in each engine. All INT8 is calibrated on the same training images, top-1 counted on the same held-out ones. The
ratio is that of the bundle's fastest engine to the fastest of the others in INT8; it should be at most 1.0.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from parts.cpu_peers import (
    Run,
    open_onnxruntime,
    open_openvino,
    planes_of,
    quantize_for_onnxruntime,
    quantize_for_openvino,
    write_float,
)
from parts.litert_peer import MISSING, images_for_litert, litert_is_here, open_litert, quantize_for_litert, write_litert
from parts.machine import machine_line, use_cores, versions_of

from edgexfer import load
from edgexfer.backends import missing_here
from edgexfer.core.bundle import Bundle, open_bundle
from edgexfer.core.preprocess import Preprocess
from edgexfer.core.target import load_calibration, load_target
from edgexfer.flow.demo import write_digits
from edgexfer.flow.export import export
from edgexfer.gate.judge.interval import ratio
from edgexfer.gate.measure.turns import Blocks, Side, Turns
from edgexfer.train.checkpoint import Checkpoint, open_checkpoint
from edgexfer.train.finetune import dataset_of, finetune
from edgexfer.train.images.pixel_cache import PixelCache
from edgexfer.train.quantize.calibrate import calibration_rows
from edgexfer.train.settings import FinetuneSettings


def main() -> None:
    """Prints the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", nargs="?", type=Path)
    parser.add_argument("--bundle", type=Path, nargs="+", default=[])
    parser.add_argument("--threads", default="1")
    parser.add_argument("--seconds", type=float, default=10.0, help="for each network")
    arguments = parser.parse_args()
    threads = [int(count) for count in arguments.threads.split(",")]
    with tempfile.TemporaryDirectory() as folder:
        checkpoint = open_checkpoint(arguments.run or _digits_run(Path(folder)))
        bundles = [open_bundle(one) for one in arguments.bundle] or [_int8_bundle(checkpoint, Path(folder))]
        images = _Images(checkpoint, bundles)
        peers = _peers(checkpoint, images, Path(folder))
        for count in threads:
            measure(bundles, peers, images, count, arguments.seconds)
    cores = use_cores(max(threads))
    engines = ("onnxruntime", "openvino", "ai-edge-litert")
    print("\n" + machine_line(cores, versions_of(*engines, "nncf", "torch", "numpy")))


class _Images:
    """Pixels of the calibration images, of those held out as each bundle takes them, and the classes of the latter."""

    def __init__(self, checkpoint: Checkpoint, bundles: list[Bundle]) -> None:
        train = calibration_rows(checkpoint.rows, load_calibration(bundles[0].target.calibration))
        held_out = [i for i, row in enumerate(checkpoint.rows) if row.split == "test"]
        held_out = held_out or [i for i, row in enumerate(checkpoint.rows) if row.split == "val"]
        root = dataset_of(checkpoint, None).root

        def pixels(rows: Sequence[int], preprocess: Preprocess) -> NDArray[np.uint8]:
            with PixelCache(len(rows), preprocess) as cache:
                cache.fill([root / checkpoint.rows[i].path for i in rows])
                return cache[range(len(rows))]

        own = checkpoint.preprocess
        # A pruned bundle may take smaller ones.
        self.pixels = {one: pixels(held_out, one) for one in {own, *(bundle.preprocess for bundle in bundles)}}
        self.truth = np.array([checkpoint.labels.index(checkpoint.rows[i].label) for i in held_out])
        network = checkpoint.float_network()
        self.calibration = planes_of(network, pixels(train, own))
        self.planes = planes_of(network, self.pixels[own])


Peer = tuple[Callable[[Path, int], Run], Path, NDArray[Any]]
"""What opens a file, the file, and the held-out images as it takes them."""


def _peers(checkpoint: Checkpoint, images: _Images, folder: Path) -> dict[str, Peer]:
    network, side, planes = checkpoint.float_network(), checkpoint.preprocess.height, images.planes
    plain = write_float(network, side, folder / "float.onnx")
    static = quantize_for_onnxruntime(plain, images.calibration, folder / "static.onnx")
    peers: dict[str, Peer] = {
        "quantize_static, ONNX Runtime": (open_onnxruntime, static, planes),
        "float, ONNX Runtime": (open_onnxruntime, plain, planes),
    }
    if missing_here("openvino") is None:
        quantized = quantize_for_openvino(plain, images.calibration, folder / "openvino.xml")
        peers["NNCF on the OpenVINO model"] = open_openvino, quantized, planes
        peers["float, OpenVINO"] = open_openvino, plain, planes
    if litert_is_here():
        plain = write_litert(network, side, folder / "float.tflite")
        static = quantize_for_litert(plain, images.calibration, folder / "static.tflite")
        peers["static_wi8_ai8, LiteRT"] = open_litert, static, images_for_litert(static, planes)
        peers["float, LiteRT"] = open_litert, plain, images_for_litert(plain, planes)
    else:
        print(MISSING)
    return peers


def measure(bundles: list[Bundle], peers: dict[str, Peer], images: _Images, threads: int, seconds: float) -> None:
    """Times all networks in turns, prints their table and each bundle's ratio to the fastest INT8 of the others."""
    openers: dict[str, Any] = {}
    for bundle in bundles:
        for engine, name in (("ort", "ONNX Runtime"), ("openvino", "OpenVINO")):
            if missing_here(engine) is None:
                title = f"{bundle.folder.name}, {name}"
                openers[title] = partial(_bundle_side, bundle, engine, threads, images.pixels[bundle.preprocess])
    for title, (opened, file, inputs) in peers.items():
        openers[title] = partial(_file_side, opened, file, threads, inputs)
    turns = Turns(list(openers.values()), threads=threads)
    while turns.seconds < seconds * len(openers):
        turns.more()
    samples: dict[str, Blocks] = dict(zip(openers, turns.sides, strict=True))
    print(f"\n{len(images.truth)} held-out images, threads: {threads}\n")
    print("| network | p50 ms | p95 ms | top-1 |\n|---|---|---|---|")
    for title, opener in openers.items():
        p50, p95 = np.percentile(samples[title]["total"], [50, 95]) / 1e6
        with opener() as side:
            top1 = np.mean([side.answer(i).argmax() == label for i, label in enumerate(images.truth)])
        print(f"| {title} | {p50:.3f} | {p95:.3f} | {100 * top1:.2f} % |", flush=True)
    others = [title for title in peers if not title.startswith("float")]
    best = min(others, key=lambda title: float(np.median(samples[title]["total"])))
    for bundle in bundles:
        own = [title for title in openers if title.startswith(f"{bundle.folder.name}, ")]
        fastest = min(own, key=lambda title: float(np.median(samples[title]["total"])))
        found = ratio(samples[fastest], samples[best], _median, confidence=0.95)
        print(f"\n{fastest} / {best}: {found.value:.3f} (95 % confidence: {found.low:.3f} to {found.high:.3f})")


def _median(calls: Blocks) -> float:
    return float(np.median(calls["total"]))


class _Timed:
    """One network as a side for `Turns`."""

    def __init__(self, run: Run, inputs: NDArray[Any]) -> None:
        self._run, self._inputs = run, inputs

    def __call__(self, index: int) -> dict[str, int]:
        image = self._inputs[index % len(self._inputs)][None]
        began = time.perf_counter_ns()
        self._run(image)
        return {"total": time.perf_counter_ns() - began}

    def answer(self, index: int) -> NDArray[np.float32]:
        return self._run(self._inputs[index][None])


@contextmanager
def _bundle_side(bundle: Bundle, engine: str, threads: int, pixels: NDArray[np.uint8]) -> Iterator[Side]:
    with load(bundle, backend=engine, threads=threads) as classifier:
        yield _Timed(classifier.probabilities, pixels)


@contextmanager
def _file_side(opened: Any, file: Path, threads: int, inputs: NDArray[Any]) -> Iterator[Side]:
    yield _Timed(opened(file, threads), inputs)


def _digits_run(folder: Path) -> Path:
    write_digits(folder / "digits")
    settings = FinetuneSettings(strategy="linear-probe", input_size=224)
    return finetune(folder / "digits", folder / "digits-224", settings).folder


def _int8_bundle(checkpoint: Checkpoint, folder: Path) -> Bundle:
    made = export(checkpoint.folder, load_target("x86-cpu"), folder / "made.edgx", precision="int8")
    return made.bundle


if __name__ == "__main__":
    main()
