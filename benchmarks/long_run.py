"""Predicts a million times from many threads and says whether anything grew, went wrong or was lost on the way.

    python benchmarks/long_run.py [--bundle BUNDLE] [--threads 8] [--fake 1000000] [--ort 200000]

Without BUNDLE a network of three convolutions for 32 x 32 pixels is written beforehand, so that it ends within minutes.
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

sys.path.insert(0, str(Path(__file__).parents[1]))

from edgexfer import Classifier, load
from edgexfer.core.bundle import MODEL, REFERENCE, SPLIT
from edgexfer.core.labels import labels_digest
from edgexfer.core.manifest import write_manifest
from edgexfer.core.preprocess import Preprocess
from edgexfer.core.target import Target

_SETTLED = 10_000
_MOST_GROWTH_BYTES = 5_000_000
_IMAGES = 64
_SIDE, _LABELS = 32, ("a", "b", "c", "d", "e")
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
        bundle = asked.bundle or small_bundle(Path(folder) / "small.edgx")
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


def small_bundle(folder: Path) -> Path:
    """Writes a bundle of three random convolutions, whose references are what ONNX Runtime answers."""
    import onnxruntime
    from onnx import TensorProto, helper, numpy_helper

    folder.mkdir()
    random = np.random.default_rng(0)
    channels = (3, 16, 32, 32)
    nodes = [
        helper.make_node("Cast", ["pixels"], ["float"], to=TensorProto.FLOAT),
        helper.make_node("Mul", ["float", "scale"], ["scaled"]),
        helper.make_node("Transpose", ["scaled"], ["out0"], perm=[0, 3, 1, 2]),
    ]
    weights = [numpy_helper.from_array(np.float32(1 / 255), "scale")]
    for layer in range(3):
        shape = (channels[layer + 1], channels[layer], 3, 3)
        kernel = random.normal(0, (2 / (9 * shape[1])) ** 0.5, shape).astype(np.float32)
        weights.append(numpy_helper.from_array(kernel, f"kernel{layer}"))
        nodes += [
            helper.make_node(
                "Conv", [f"out{layer}", f"kernel{layer}"], [f"conv{layer}"], strides=[2, 2], pads=[1, 1, 1, 1]
            ),
            helper.make_node("Relu", [f"conv{layer}"], [f"out{layer + 1}"]),
        ]
    weights.append(numpy_helper.from_array(random.normal(0, 3, (32, len(_LABELS))).astype(np.float32), "head"))
    nodes += [
        helper.make_node("ReduceMean", ["out3"], ["mean"], axes=[2, 3], keepdims=0),
        helper.make_node("Gemm", ["mean", "head"], ["logits"]),
        helper.make_node("Softmax", ["logits"], ["probabilities"], axis=1),
    ]
    graph = helper.make_graph(
        nodes,
        "small",
        [helper.make_tensor_value_info("pixels", TensorProto.UINT8, ["N", _SIDE, _SIDE, 3])],
        [helper.make_tensor_value_info("probabilities", TensorProto.FLOAT, ["N", len(_LABELS)])],
        weights,
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8).SerializeToString()
    (folder / MODEL).write_bytes(model)
    pixels = random.integers(0, 256, (16, _SIDE, _SIDE, 3), dtype=np.uint8)
    session = onnxruntime.InferenceSession(model, providers=["CPUExecutionProvider"])
    np.savez(folder / REFERENCE, pixels=pixels, probabilities=session.run(None, {"pixels": pixels})[0])
    (folder / SPLIT).write_text("path,label,split,sha256\n", encoding="utf-8")
    content = {
        "name": "small",
        "labels": list(_LABELS),
        "labels_sha256": labels_digest(_LABELS),
        "preprocess": Preprocess(_SIDE, _SIDE).to_json(),
        "target": Target("small", "any CPU", "ort", "ort", "float32").to_json(),
        "precision": "float32",
        "simulated": False,
        "parent": "0" * 64,
        "accuracy": {},
        "provenance": {},
    }
    write_manifest(folder, "bundle", content)
    return folder


def _resident_bytes() -> int:
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def _descriptors() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


if __name__ == "__main__":
    sys.exit(main())
