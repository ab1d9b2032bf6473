"""What `--sparsity` gives: accuracy, compressed size and latency of sparse INT8 bundles against the dense one.

    python benchmarks/sparsity.py [RUN] [--sparsity 0.6 --sparsity 2:4] [--how magnitude] [--epochs N] [--out FOLDER]

RUN is a float checkpoint, which is copied into FOLDER; without it one is made from scikit-learn's digits at 96 pixels
(head only). Every bundle is exported for x86-cpu. Size: the ONNX file, and the same through zlib, against the dense
network's in the same precision. Latency: one inference, one thread, CPU time, both in turns in one process. Accuracy:
top-1 of the INT8 bundle and of the float networks on the held-out images.
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path

from parts.given_run import run_in
from parts.machine import machine_line, versions_of

from edgexfer.core.target import load_target
from edgexfer.flow.export import export
from edgexfer.flow.sparsify import sparsify
from edgexfer.train.sparse.asked import Sparsity, parse_sparsity

TARGET = load_target("x86-cpu")


def main() -> None:
    """Prints the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", nargs="?", type=Path)
    parser.add_argument("--sparsity", action="append")
    parser.add_argument("--how", default="magnitude")
    parser.add_argument("--epochs", type=int, help="of learning again at each point")
    parser.add_argument("--out", type=Path)
    arguments = parser.parse_args()
    asked = [
        parse_sparsity(text, None if text == "2:4" else arguments.how) for text in arguments.sparsity or ("0.6", "2:4")
    ]
    with tempfile.TemporaryDirectory() as scratch:
        out = arguments.out or Path(scratch)
        run = run_in(out, arguments.run)
        names = ("zeros", "dense", "sparse", "INT8", "packed", "of dense")
        print("".join(f"{name:>9}" for name in names) + "  latency against the dense one")
        for sparsity in asked:
            measure(run, sparsity, arguments.epochs, out)
    print(machine_line(1, versions_of("edgexfer", "onnxruntime", "torch", "nncf")))


def measure(run: Path, sparsity: Sparsity, epochs: int | None, out: Path) -> None:
    """Makes one sparse bundle, where it is not there yet, and prints its row."""
    sparse = sparsify(run, None, sparsity, epochs=epochs)
    made = export(sparse.folder, TARGET, out / f"{sparse.folder.name}.edgx", precision="int8", overwrite=True)
    record = made.bundle.manifest["sparsity"]
    gain = record["gain"]
    clock = gain["latency"]
    floats = [100 * _top1(point["metrics"]) for point in (record["points"][0], record["points"][-1])]
    shipped = 100 * next(found.evaluation.top1 for found in made.measured if found.shipped)
    ratio = gain["packed_bytes"] / gain["dense"]["packed_bytes"]
    told = (record["zeros"] / record["weights"], *floats, shipped, gain["packed_bytes"] / 1e6, ratio)
    interval = f"{clock['low']:.3f} to {clock['high']:.3f}"
    print("".join(f"{value:9.2f}" for value in told) + f"  {clock['ratio']:.3f} ({interval})", flush=True)


def _top1(metrics: dict[str, dict[str, int]]) -> float:
    found = metrics.get("test", metrics["val"])
    return found["right"] / found["images"]


if __name__ == "__main__":
    main()
