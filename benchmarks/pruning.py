"""What `--prune` gives: the pruned INT8 bundle against the unpruned one in time, and against float in accuracy.

    python benchmarks/pruning.py [RUN] [--goal latency=0.6] [--prune-epochs N] [--seconds S] [--out FOLDER]

RUN is a float checkpoint; without it one is made from scikit-learn's digits at 96 pixels (head only). Both INT8 bundles
are exported for x86-cpu into FOLDER, where what is there already is taken; by default it is a temporary one. Nothing is
written beside RUN. Latency: the median of one inference, one thread, both in turns in one process. Accuracy: top-1
against the unpruned float network on the same held-out images, image by image. The aim is a ratio of 0.6 at most, and
1 point lost at most. A machine that does other things meanwhile makes the ratio's interval wide: take a quiet one.
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path

from parts.given_run import run_in
from parts.machine import machine_line, versions_of

from edgexfer.core.bundle import Bundle, open_bundle
from edgexfer.core.target import load_target
from edgexfer.flow.export import export
from edgexfer.flow.prune import prune
from edgexfer.gate.judge.compare import compare
from edgexfer.gate.judge.mcnemar import tango_interval
from edgexfer.gate.measure.evaluate import evaluate
from edgexfer.gate.measure.evaluation import Evaluation
from edgexfer.gate.report.pruning import pruning_table
from edgexfer.train.prune.goal import Goal, parse_goal

TARGET = load_target("x86-cpu")


def main() -> None:
    """Prints the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", nargs="?", type=Path)
    parser.add_argument("--goal", type=parse_goal, default=Goal("latency", 0.6))
    parser.add_argument("--prune-epochs", type=int)
    parser.add_argument("--seconds", type=float, default=20.0)
    parser.add_argument("--data", type=Path)
    parser.add_argument("--out", type=Path)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        measure(arguments, arguments.out or Path(scratch))


def measure(arguments: argparse.Namespace, out: Path) -> None:
    """Makes what is missing in `out`, then times and judges."""
    run = run_in(out, arguments.run)
    full = _bundle(run, out / "full.edgx", "int8", arguments.data)
    plain = _bundle(run, out / "float.edgx", "float32", arguments.data)
    pruned = prune(run, None, TARGET, arguments.goal, data=arguments.data, epochs=arguments.prune_epochs)
    narrow = _bundle(pruned.folder, out / f"{arguments.goal}.edgx", "int8", arguments.data)
    _print_points(narrow)
    clock = compare(narrow, full, seconds=arguments.seconds, threads=1)
    data = arguments.data or pruned.manifest["val"] or pruned.manifest["data"]
    answers = {
        name: evaluate(bundle, data)
        for name, bundle in (("float", plain), ("INT8", full), (f"INT8, {arguments.goal}", narrow))
    }
    print(
        f"\n{'network':22}{'p50 ms':>9}{'ratio':>8}{'MB':>7}{'top-1':>9}{'lost':>6}{'won':>5}  change of top-1 (90 %)"
    )
    rows = (("float", plain, None), ("INT8", full, clock.against), (f"INT8, {arguments.goal}", narrow, clock.bundle))
    for name, bundle, latency in rows:
        p50 = "" if latency is None else f"{latency.percentile('inference', 50) / 1e6:.3f}"
        ratio = {narrow.folder: f"{clock.ratio:.3f}", full.folder: "1.000"}.get(bundle.folder, "")
        size = bundle.model.stat().st_size / 1e6
        print(f"{name:22}{p50:>9}{ratio:>8}{size:7.2f}{_against(answers[name], answers['float'])}")
    print(f"latency ratio: 95 % confidence {clock.low:.3f} to {clock.high:.3f}")
    print(machine_line(1, versions_of("edgexfer", "onnxruntime", "torch", "nncf", "torch-pruning")))


def _bundle(run: Path, place: Path, precision: str, data: Path | None) -> Bundle:
    if place.exists():
        return open_bundle(place)
    return export(run, TARGET, place, precision=precision, data=data).bundle  # type: ignore[arg-type]


def _print_points(narrow: Bundle) -> None:
    table = pruning_table(narrow.manifest["provenance"]["pruning"])
    assert table is not None
    for row in (table.head, *table.rows):
        print("".join(f"{cell:>14}" for cell in row))


def _against(candidate: Evaluation, reference: Evaluation) -> str:
    right = [{image.sha256: image.label == image.predicted for image in side.images} for side in (candidate, reference)]
    pairs = [(right[0][digest], right[1][digest]) for digest in right[0].keys() & right[1].keys()]
    lost = sum(before and not now for now, before in pairs)
    won = sum(now and not before for now, before in pairs)
    low, high = (100 * end for end in tango_interval(lost, won, len(pairs)))
    return f"{100 * candidate.top1:8.2f} %{lost:6}{won:5}  {low:+.2f} to {high:+.2f} points"


if __name__ == "__main__":
    main()
