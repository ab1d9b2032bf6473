"""Checkpoints as the verbs that train see them: a folder with a history, and a manifest. No network is in them."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from edgexfer.core.manifest import write_manifest

Call = dict[str, Any]
HISTORY = "epoch,stage,val_top1\n0,finetune,0.5\n1,finetune,0.75\n2,finetune,0.625\n"


@dataclass(frozen=True)
class Made:
    """What a stage returns, as far as a verb looks at it."""

    folder: Path
    manifest: dict[str, Any]


def figures(confusion: list[list[int]]) -> dict[str, Any]:
    images = sum(map(sum, confusion))
    top1 = sum(row[i] for i, row in enumerate(confusion)) / images
    return {
        "images": images,
        "top1": top1,
        "macro_f1": top1,
        "calibration_error": 0.043,
        "recall": [row[i] / max(1, sum(row)) for i, row in enumerate(confusion)],
        "confusion": confusion,
    }


def make_run(folder: Path, **content: Any) -> Made:
    """Writes a checkpoint of the classes a, b and c; `content` replaces keys of its manifest."""
    folder.mkdir(parents=True)
    (folder / "history.csv").write_text(HISTORY, encoding="utf-8")
    manifest = {
        "name": folder.name,
        "labels": ["a", "b", "c"],
        "backbone": "efficientnet-lite0",
        "precision": "float32",
        "quantization": None,
        "preprocess": {"height": 64, "width": 96, "resize": "cover"},
        "best_epoch": 1,
        "metrics": {
            "val": figures([[20, 0, 0], [0, 19, 1], [0, 0, 20]]),
            "test": figures([[20, 0, 0], [3, 16, 1], [0, 0, 20]]),
        },
        "images_left_out": [],
        **content,
    }
    return Made(folder, write_manifest(folder, "checkpoint", manifest))


def interrupted_run(run: Path, **changes: Any) -> Path:
    """Writes what an interrupted run leaves, as far as a verb looks at it; `changes` replace keys of `run.json`."""
    partial = run.with_name(f"{run.name}.partial")
    partial.mkdir(parents=True)
    record = {"settings": {"epochs": None, "seed": 3, "backbone": "resnet18"}, "val": None, **changes}
    (partial / "run.json").write_text(json.dumps(record), encoding="utf-8")
    return partial


def tried(verb: str, calls: list[list[str]], folder: Path) -> tuple[str, str]:
    """Calls a verb several times in a process of its own, in `folder`.

    Returns:
        Its standard output, which ends with the exit codes and whether PyTorch was loaded, and its standard error.
    """
    code = (
        "import json, sys\nfrom edgexfer.cli.main import run\n"
        "codes = [run([sys.argv[1], *words]) for words in json.loads(sys.argv[2])]\n"
        "print(codes, 'torch' in sys.modules)"
    )
    command = [sys.executable, "-c", code, verb, json.dumps(calls)]
    done = subprocess.run(command, check=False, capture_output=True, text=True, cwd=folder, env=environment())
    return done.stdout, done.stderr


def environment() -> dict[str, str]:
    """The environment for a process that starts outside the checkout, and knows it all the same."""
    return {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}
