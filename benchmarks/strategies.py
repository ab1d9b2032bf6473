"""Which strategy does best on which data, and whether `auto` is within a point of the best single one.

    python benchmarks/strategies.py [--only hymenoptera signs-5 ...] [--strategies auto finetune ...] [--draws N]

Every strategy gets the same images in every draw and is judged on the same held-out images, which it never sees: 30 of
each class of signs (300) and of digits (300). signs-K trains on K images of each class, and K others validate (fewer
where the class has no more). hymenoptera comes divided; its val part also chooses, so a second row takes val out of
train. Means and standard deviations are over draws of train and val, and of the seed with them. Persons recur in
signs, and the set does not say who is who.

Each cell becomes a JSON file in --out, and one that is there is not computed again: it can be stopped at any time.
"""

from __future__ import annotations

import argparse
import logging
import sys
import tempfile
import time
from pathlib import Path

from parts.grid import AUTO, Cell, accuracy_table, read_cells, remarks, seconds_table
from parts.judged import top1_on
from parts.machine import machine_line, use_cores, versions_of
from parts.shots import CASES, Case, Drawn, draw

from edgexfer.core.errors import EdgexferError
from edgexfer.train.finetune import finetune
from edgexfer.train.settings import FinetuneSettings
from edgexfer.train.strategies import STRATEGIES

SINGLE = ("linear-probe", "prototype", "finetune", "gradual", "last-n")


def main() -> int:
    """Fills the grid and prints its tables; returns 1 where a cell failed."""
    arguments = _arguments()
    out: Path = arguments.out
    (out / "images").mkdir(parents=True, exist_ok=True)
    cores = use_cores(arguments.cores)
    cases = [case for case in CASES if not arguments.only or case.name in arguments.only]
    strategies = [name for name in arguments.strategies if name in STRATEGIES]
    for name in sorted(set(arguments.strategies) - set(strategies)):
        print(f"skipped: there is no strategy {name} here", file=sys.stderr)
    if not arguments.only_table:
        for case in cases:
            _fill(case, strategies, arguments, out)
    names = [case.name for case in cases]
    cells = read_cells(out, names)
    print(f"{accuracy_table(cells, names, strategies)}\n\n{seconds_table(cells, names, strategies)}\n")
    notes = [f"{case.name}: {case.note}" for case in cases if case.note and any(c.case == case.name for c in cells)]
    print("\n".join(f"- {line}" for line in [*notes, *remarks(cells, names, strategies)]))
    print(f"\n{machine_line(cores, versions_of('torch', 'torchvision', 'timm', 'scikit-learn', 'lightning'))}")
    return 1 if any(cell.failed for cell in cells) else 0


def _fill(case: Case, strategies: list[str], arguments: argparse.Namespace, out: Path) -> None:
    for number in range(arguments.draws or case.draws):
        empty = [Cell(case.name, name, number) for name in strategies]
        missing = [cell for cell in empty if arguments.again or cell.kept(out) is None]
        if not missing:
            continue
        try:
            drawn = draw(case, number, out / "images")
        except EdgexferError as error:
            print(f"{case.name} skipped: {error.message} ({error.hint})", file=sys.stderr)
            return
        for cell in missing:
            made = measure(cell, drawn, arguments)
            made.write(out)
            top1 = made.failed or f"{100 * (made.top1 or 0):.2f} %"
            print(f"{cell.case} draw {cell.draw} {cell.strategy}: {top1}, {made.seconds:.1f} s", file=sys.stderr)


def measure(cell: Cell, drawn: Drawn, arguments: argparse.Namespace) -> Cell:
    """Trains with the cell's strategy and judges what comes of it; what fails is told, and costs no other cell."""
    given = {"epochs": arguments.epochs, "input_size": arguments.size}
    began = time.perf_counter()
    try:
        settings = FinetuneSettings(
            strategy=cell.strategy, seed=cell.draw, **{name: value for name, value in given.items() if value}
        )
        with tempfile.TemporaryDirectory() as folder:
            made = finetune(drawn.images, Path(folder) / "run", settings)
            seconds = time.perf_counter() - began
            top1 = top1_on(made, drawn.judged)
    except Exception as error:  # hours of other cells must not be lost to one
        logging.getLogger(__name__).warning("%s %s failed", cell.case, cell.strategy, exc_info=error)
        return Cell(cell.case, cell.strategy, cell.draw, failed=f"{type(error).__name__}: {error}")
    notes = made.manifest.get("strategy_notes") or {}
    counts = {split: [row.split for row in made.rows].count(split) for split in ("train", "val", "test")}
    return Cell(cell.case, cell.strategy, cell.draw, top1, len(drawn.judged), round(seconds, 2), counts, notes)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    names = [case.name for case in CASES]
    parser.add_argument("--only", nargs="+", choices=names, metavar="CASE", help=f"of {', '.join(names)}")
    parser.add_argument("--strategies", nargs="+", default=[*SINGLE, AUTO], metavar="NAME")
    parser.add_argument("--draws", type=int, help="of each case, instead of 3 or 5")
    parser.add_argument("--epochs", type=int, help="at most, instead of what the strategy decides")
    parser.add_argument("--size", type=int, help="input side in pixels, instead of what the images say")
    parser.add_argument("--cores", type=int, default=2)
    parser.add_argument("--out", type=Path, default=Path("runs/strategies"), help="for the cells")
    parser.add_argument("--again", action="store_true", help="compute cells that are there as well")
    parser.add_argument("--only-table", action="store_true", help="print what --out holds, compute nothing")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
