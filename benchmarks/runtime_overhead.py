"""What the runtime costs beyond the engine: `classifier(array)` against a bare `session.run` on the same pixels.

    python benchmarks/runtime_overhead.py [BUNDLE]

Without BUNDLE a small convolutional network is made with the onnx package. Both ways run interleaved in one
process with one thread, in alternating order; then a classifier that is watched against one that is not. In fresh
processes it also measures what `import edgexfer` takes beyond numpy's own, and, for information, the imports that
`load` brings when it is first used. Exit code 1 where a limit is passed: at most 5 % or 0.1 ms more a prediction,
whichever is larger; `import edgexfer` under 150 ms.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgexfer import Watch, load
from edgexfer.core.bundle import MODEL, REFERENCE
from edgexfer.core.labels import labels_digest
from edgexfer.core.manifest import write_manifest
from edgexfer.core.preprocess import Preprocess
from edgexfer.core.target import Target

LIMIT_SHARE = 0.05
LIMIT_MS = 0.1
LIMIT_IMPORT_MS = 150.0
SIZE = 96


def main() -> int:
    """Measures, prints both tables and returns the exit code."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument(
        "bundle", nargs="?", type=Path, help="a bundle for ONNX Runtime; made here where it is left out"
    )
    parser.add_argument("--runs", type=int, default=1000, help="predictions each way")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        bundle = arguments.bundle or small_bundle(Path(folder) / "small.edgx")
        good = report_overhead(bundle, arguments.runs)
    return 0 if report_imports() and good else 1


def report_overhead(bundle: Path, runs: int) -> bool:
    """Times both ways and prints them; returns whether the limit holds."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    watch = Watch()
    with (
        load(bundle, backend="ort", threads=1) as classifier,
        load(bundle, backend="ort", threads=1, watch=watch) as watched,
    ):
        bare = onnxruntime.InferenceSession(classifier.bundle.model, options, providers=["CPUExecutionProvider"])
        name = bare.get_inputs()[0].name
        size = (classifier.preprocess.height, classifier.preprocess.width, 3)
        image = np.random.default_rng(0).integers(0, 256, size, dtype=np.uint8)
        batch = image[np.newaxis]
        ours_ms, bare_ms = interleaved(lambda: classifier(image).label, lambda: bare.run(None, {name: batch}), runs)
        seen_ms, unseen_ms = interleaved(lambda: watched(image).label, lambda: classifier(image).label, runs)
    ours, engine = statistics.median(ours_ms), statistics.median(bare_ms)
    more, limit = ours - engine, max(LIMIT_MS, LIMIT_SHARE * engine)
    print(f"{'one prediction, 1 thread':34} {'p50 ms':>9} {'p95 ms':>9}")
    for title, samples in (("session.run", bare_ms), ("classifier(array).label", ours_ms)):
        print(f"{title:34} {statistics.median(samples):9.4f} {float(np.percentile(samples, 95)):9.4f}")
    print(f"{'more':34} {more:9.4f}   {more / engine:+.1%}; limit {limit:.4f} ms: {verdict(more <= limit)}")
    seen, unseen = statistics.median(seen_ms), statistics.median(unseen_ms)
    print(f"{'the same, watched':34} {seen:9.4f}   {seen / unseen:.3f} of {unseen:.4f} ms beside it\n")
    return more <= limit


def interleaved(one: Callable[[], Any], two: Callable[[], Any], runs: int) -> tuple[list[float], list[float]]:
    """Runs both in turns, the order changing each time; returns the samples of each in ms."""
    samples: tuple[list[float], list[float]] = ([], [])
    for turn in range(-50, runs):
        for which in (0, 1) if turn % 2 else (1, 0):
            started = time.perf_counter_ns()
            (one, two)[which]()
            taken = (time.perf_counter_ns() - started) / 1e6
            if turn >= 0:  # the others warm up
                samples[which].append(taken)
    return samples


def report_imports(runs: int = 7) -> bool:
    """Times imports in fresh processes, numpy being there already; returns whether the limit holds."""
    statements = ("import edgexfer", "from edgexfer import load", "from edgexfer import load; import onnxruntime")
    print(f"{'beyond numpy, in a fresh process':46} {'p50 ms':>9}")
    medians = {}
    with tempfile.TemporaryDirectory() as cache:
        for statement in statements:
            import_ms(statement, cache)  # compiles, as an installation does
            medians[statement] = statistics.median(import_ms(statement, cache) for _ in range(runs))
            print(f"{statement:46} {medians[statement]:9.1f}")
    good = medians[statements[0]] < LIMIT_IMPORT_MS
    print(f"limit of the first {LIMIT_IMPORT_MS:.0f} ms: {verdict(good)}")
    return good


def import_ms(statement: str, cache: str) -> float:
    """Runs `statement` in a fresh interpreter after numpy; returns how long it took there in ms."""
    code = f"import numpy, time; t = time.perf_counter(); {statement}; print((time.perf_counter() - t) * 1e3)"
    environment = {**os.environ, "PYTHONPYCACHEPREFIX": cache, "PYTHONDONTWRITEBYTECODE": ""}
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, check=True, capture_output=True, text=True, env=environment)  # noqa: S603
    return float(done.stdout)


def verdict(good: bool) -> str:
    """Returns the word for the table."""
    return "holds" if good else "PASSED OVER"


def small_bundle(folder: Path, size: int = SIZE) -> Path:
    """Writes a bundle with four random convolutions: pixels of size x size in, ten classes out."""
    import onnx
    from onnx import TensorProto, helper, numpy_helper

    random = np.random.default_rng(0)
    weights: list[Any] = [numpy_helper.from_array(np.float32(1 / 255), "scale")]
    nodes = [
        helper.make_node("Cast", ["pixels"], ["float"], to=TensorProto.FLOAT),
        helper.make_node("Mul", ["float", "scale"], ["scaled"]),
        helper.make_node("Transpose", ["scaled"], ["x0"], perm=[0, 3, 1, 2]),
    ]
    for i, (before, after) in enumerate([(3, 16), (16, 24), (24, 32), (32, 64)]):
        kernel: NDArray[np.float32] = random.normal(0, (2 / (9 * before)) ** 0.5, (after, before, 3, 3)).astype(
            np.float32
        )
        weights.append(numpy_helper.from_array(kernel, f"w{i}"))
        nodes.append(helper.make_node("Conv", [f"x{i}", f"w{i}"], [f"y{i}"], strides=[2, 2], pads=[1, 1, 1, 1]))
        nodes.append(helper.make_node("Relu", [f"y{i}"], [f"x{i + 1}"]))
    weights.append(numpy_helper.from_array(random.normal(0, 0.1, (64, 10)).astype(np.float32), "head"))
    nodes += [
        helper.make_node("ReduceMean", ["x4"], ["mean"], axes=[2, 3], keepdims=0),
        helper.make_node("Gemm", ["mean", "head"], ["logits"]),
        helper.make_node("Softmax", ["logits"], ["probabilities"], axis=1),
    ]
    pixels = helper.make_tensor_value_info("pixels", TensorProto.UINT8, ["N", size, size, 3])
    probabilities = helper.make_tensor_value_info("probabilities", TensorProto.FLOAT, ["N", 10])
    graph = helper.make_graph(nodes, "small", [pixels], [probabilities], weights)
    folder.mkdir()
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), folder / MODEL)
    np.savez(folder / REFERENCE, pixels=np.zeros((1, size, size, 3), np.uint8))
    labels = [str(digit) for digit in range(10)]
    content = {
        "name": "small",
        "labels": labels,
        "labels_sha256": labels_digest(labels),
        "preprocess": Preprocess(size, size).to_json(),
        "target": Target("here", "this machine", "ort", "ort").to_json(),
        "precision": "float32",
    }
    write_manifest(folder, "bundle", content)
    return folder


if __name__ == "__main__":
    sys.exit(main())
