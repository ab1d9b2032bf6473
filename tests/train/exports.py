"""One run on generated pictures and what export makes of it, made once a session and shared by several files."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path

import pytest

from edgexfer.core.target import load_target
from edgexfer.flow import export as flow
from edgexfer.train.checkpoint import Checkpoint, open_checkpoint
from edgexfer.train.finetune import finetune
from edgexfer.train.settings import FinetuneSettings
from tests.train.pictures import picture_tree

BENCH_SECONDS = 0.2


@dataclass(frozen=True)
class Exports:
    """What was made; who wants to spoil any of it takes a copy.

    Attributes:
        data: class folders with the pictures.
        run: the float checkpoint.
        ort: INT8 for x86-cpu, one epoch of quantization-aware training, shipped whatever the clock says.
        tensorrt: INT8 for jetson-orin-nano, calibrated only.
    """

    data: Path
    run: Checkpoint
    ort: flow.Exported
    tensorrt: flow.Exported

    def quantized(self, dialect: str) -> Checkpoint:
        """The quantized checkpoint that export left beside the run."""
        return open_checkpoint(self.run.folder.with_name(f"{self.run.folder.name}.int8-{dialect}"))

    def copy_of_run(self, folder: Path, *, quantized: bool = False) -> Path:
        """A copy of the run, with its quantized siblings where wanted, in the new folder `folder`."""
        for source in self.run.folder.parent.iterdir():
            if quantized or source == self.run.folder:
                shutil.copytree(source, folder / source.name)
        return folder / self.run.folder.name


def make_exports(root: Path) -> Exports:
    """Makes them below `root`; half a minute on one core."""
    data = picture_tree(root / "data", (20, 20, 20), noise=40.0)
    settings = FinetuneSettings(strategy="linear-probe", batch_size=8, device="cpu")
    run = finetune(data, root / "runs" / "pictures", settings)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(flow, "BENCH_SECONDS", BENCH_SECONDS)
        x86, jetson = load_target("x86-cpu"), load_target("jetson-orin-nano")
        ort = flow.export(run.folder, x86, root / "x86.edgx", precision="int8", epochs=1, device="cpu")
        tensorrt = flow.export(run.folder, jetson, root / "jetson.edgx", epochs=0, device="cpu")
    return Exports(data, run, ort, tensorrt)
