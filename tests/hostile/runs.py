"""What edgexfer reads of checkpoints and of interrupted trainings: `python -m tests.hostile.runs --mutations 2000`.

As tests/hostile/records.py, of which this is the part that needs PyTorch.
"""

from __future__ import annotations

import json
import logging
import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import safetensors.numpy
import torch

from edgexfer.core.errors import ArtifactError
from edgexfer.core.files import write_file
from edgexfer.core.preprocess import Preprocess
from edgexfer.gate.report.page import report
from edgexfer.train.backbones import find_backbone
from edgexfer.train.begin import Sources, begin, go_on
from edgexfer.train.checkpoint import WEIGHTS, empty_network, open_checkpoint, save_checkpoint
from edgexfer.train.continual.exemplars import parse_exemplars
from edgexfer.train.images.split import SplitRow
from edgexfer.train.loop.learning_rate import FOUND, FoundRate, find_once
from edgexfer.train.loop.trainer_state import load_state, save_state
from edgexfer.train.plan import PLAN, plan
from edgexfer.train.settings import FinetuneSettings
from tests.gate.report.made import HISTORY
from tests.hostile.forge import forge
from tests.hostile.records import Record, main
from tests.train.pictures import picture_tree

_BACKBONE = "mobilenetv2-050"


def _checkpoint(folder: Path) -> None:
    preprocess = Preprocess(32, 32)
    (folder / "history.csv").write_text(HISTORY, encoding="utf-8")
    save_checkpoint(
        folder / "run",
        state=empty_network(find_backbone(_BACKBONE), 2, preprocess).state_dict(),
        history=folder / "history.csv",
        rows=(SplitRow("a/1.png", "a", "train", "0" * 64), SplitRow("b/1.png", "b", "test", "1" * 64)),
        labels=("a", "b"),
        content={
            "name": "run",
            "backbone": _BACKBONE,
            "preprocess": preprocess.to_json(),
            "quantization": None,
            "precision": "float32",
            "metrics": {"test": {"top1": 0.5, "macro_f1": 0.5, "images": 2, "confusion": [[1, 0], [1, 0]]}},
            "settings": {"strategy": "finetune", "seed": 0},
        },
        overwrite=False,
    )


def _forged(use: Callable[[Path], object]) -> Callable[[Path], None]:
    def used(folder: Path) -> None:
        try:
            run = forge(folder / "run")
        except (ValueError, TypeError, AttributeError, KeyError) as error:
            raise ArtifactError("not even its maker can write a digest into it") from error
        use(run)

    return used


def _network(run: Path) -> None:
    open_checkpoint(run).float_network()


def _exemplars(folder: Path) -> None:
    some = {"pixels": (np.uint8, (4, 8, 8, 3)), "class_ids": (np.int64, (4,)), "splits": (np.uint8, (4,))}
    arrays = {name: np.zeros(shape, dtype) for name, (dtype, shape) in {**some, "sha256": (np.uint8, (4, 32))}.items()}
    (folder / "exemplars.safetensors").write_bytes(safetensors.numpy.save(arrays))


def _state(folder: Path) -> None:
    state = {"epoch": 3, "weights": torch.ones(20), "loops": [{"a": (1, 2.5)}, None, True], 3: "three"}
    save_state(state, folder / "last.safetensors")


def _interrupted(folder: Path) -> None:
    logging.getLogger("edgexfer").setLevel(logging.ERROR)
    data = picture_tree(folder / "data", (4, 4))
    settings = FinetuneSettings(backbone=_BACKBONE, weights="none", input_size=32, device="cpu")
    begin(folder / "run.partial", Sources(data), settings).prepared.cache.close()


def _gone_on(folder: Path) -> None:
    go_on(folder / "run.partial", Sources(folder / "data")).prepared.cache.close()


def _planned(folder: Path) -> None:
    task: Any = SimpleNamespace(folder=folder, notes={})
    plan(task)


def _parsed(exemplars: Path) -> None:
    parse_exemplars(exemplars.read_bytes(), exemplars).digests()


def _rate(folder: Path) -> None:
    nobody: Any = None
    find_once(nobody, "cpu", folder)


RUNS: dict[str, Record] = {
    "checkpoint": Record("run/manifest.json", _checkpoint, _forged(open_checkpoint)),
    "network": Record("run/manifest.json", _checkpoint, _forged(_network), too_long_s=10.0),
    "run report": Record(
        "run/manifest.json", _checkpoint, _forged(lambda run: report(run, run.parent / "page.html")), too_long_s=20.0
    ),
    "weights": Record(f"run/{WEIGHTS}", _checkpoint, _forged(_network), too_long_s=10.0),
    "exemplars": Record(
        "exemplars.safetensors",
        _exemplars,
        lambda folder: _parsed(folder / "exemplars.safetensors"),
    ),
    "state": Record("last.safetensors", _state, lambda folder: load_state(folder / "last.safetensors")),
    "plan": Record(
        PLAN,
        lambda folder: (folder / PLAN).write_text(
            '{"strategy": "finetune", "learning_rate": 0.001, "epochs": 3, "why": ["few images"]}', encoding="utf-8"
        ),
        _planned,
    ),
    "rate": Record(
        FOUND,
        lambda folder: write_file(
            folder / FOUND, json.dumps(FoundRate(0.1, "steep", [0.1, 0.2], [1.0, 0.5]).to_json())
        ),
        _rate,
    ),
    "interrupted": Record("run.partial/run.json", _interrupted, _gone_on, too_long_s=20.0),
}


if __name__ == "__main__":
    torch.set_num_threads(1)
    sys.exit(main(RUNS))
