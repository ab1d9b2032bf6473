"""The float checkpoint that a benchmark of smaller networks begins with: the one that was given, or a made one."""

from __future__ import annotations

import shutil
from pathlib import Path

from edgexfer.flow.demo import write_digits
from edgexfer.train.finetune import finetune
from edgexfer.train.settings import FinetuneSettings


def run_in(out: Path, given: Path | None) -> Path:
    """Returns a copy of `given` in `out`, or a head on scikit-learn's digits at 96 pixels; what is there is taken."""
    run = out / ("digits" if given is None else given.name)
    if given is None and not run.exists():
        write_digits(out / "images")
        finetune(out / "images", run, FinetuneSettings(strategy="linear-probe", input_size=96))
    elif given is not None and not run.exists():
        shutil.copytree(given, run)
    return run
