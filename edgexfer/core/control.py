"""`control.json` of a checkpoint or a bundle: what was tried because INT8 missed its target's limit, and what held it.

    {"format_version": 1, "images": 153, "max_drop": 0.01, "float_top1": 0.95, "chosen": 5,
     "attempts": [{"estimator": "mean_min_max", "float_layers": ["conv_head"], "top1": 0.94, "lost": 3, "won": 1,
                   "changed": 5, "size_bytes": 3500000, "holds": false}, ...],
     "ranked_on": 32, "sensitivity": {"conv_stem": 0.0004, ...}}

`images` are those of the validation split; the test split is never asked. Every attempt is an ONNX file as it would
ship, run by ONNX Runtime; the first is the network as it came from training. `lost` and `won` are the images that the
float network alone gets right, and the attempt alone; `changed` those whose class is another one. `chosen` is an index,
null where nothing held. `sensitivity` is in the network's order: the Kullback-Leibler divergence, in nats, of the
answers with this layer alone in 8 bits from those with none, over `ranked_on` calibration images; empty where a change
of the estimator was enough.
"""

from __future__ import annotations

import dataclasses
import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from edgexfer.core.errors import ArtifactError
from edgexfer.core.manifest import read_if_listed
from edgexfer.core.versioned import DOES_NOT_FIT, parse_versioned

CONTROL = "control.json"
FORMAT_VERSION = 1


@dataclass(frozen=True)
class Attempt:
    """One network that was measured.

    Attributes:
        estimator: how the ranges of activations were taken from the calibration images, see CalibrationRecipe.
        float_layers: names of the layers that compute in float, in the network's order.
        top1: fraction of the validation images that are right, 0 to 1.
        lost: images that float alone gets right.
        won: images that this network alone gets right.
        changed: images whose class is another one than float's.
        size_bytes: of the ONNX file.
        holds: whether it loses no more than the target allows.
    """

    estimator: str
    float_layers: tuple[str, ...]
    top1: float
    lost: int
    won: int
    changed: int
    size_bytes: int
    holds: bool


@dataclass(frozen=True)
class Control:
    """All that was tried.

    Attributes:
        images: of the validation split.
        max_drop: the limit, as a fraction of top-1.
        float_top1: of the float network on the same images, 0 to 1.
        attempts: in the order in which they were made.
        chosen: index of the one that was kept, None where none held.
        ranked_on: how many calibration images the sensitivity stands on.
        sensitivity: of each layer, in the network's order.
    """

    images: int
    max_drop: float
    float_top1: float
    attempts: tuple[Attempt, ...]
    chosen: int | None
    ranked_on: int = 0
    sensitivity: dict[str, float] = field(default_factory=dict)

    def sentence(self) -> str:
        """Returns what came of it, for the user."""
        first = self.attempts[0]
        missed = f"INT8 lost {_points(self.float_top1 - first.top1)} of top-1 on {self.images} validation images"
        limit = f"the limit is {100 * self.max_drop:.2f}"
        if self.chosen is None:
            return f"{missed}, {limit}, and none of {len(self.attempts)} attempts held it"
        kept = self.attempts[self.chosen]
        how = [] if kept.estimator == first.estimator else [f"ranges by {kept.estimator}"]
        layers = len(kept.float_layers)
        how += [f"{layers} layer{'' if layers == 1 else 's'} in float"] if layers else []
        drop = self.float_top1 - kept.top1
        now = f"loses {_points(drop)}" if drop > 0 else "loses nothing"
        return f"{missed}, {limit}: with {' and '.join(how)} it {now}"

    def to_json(self) -> str:
        """Returns the content of the file."""
        content = {"format_version": FORMAT_VERSION, **dataclasses.asdict(self)}
        return json.dumps(content, indent=1, ensure_ascii=False) + "\n"


def read_control(folder: Path, manifest: dict[str, Any]) -> Control | None:
    """Reads `control.json` of a checkpoint or a bundle; None where nothing had to be tried.

    Args:
        folder: of the artifact.
        manifest: of the artifact, checked.

    Raises:
        ArtifactError: not JSON, of another format_version, or a record that does not fit.
    """
    raw = read_if_listed(folder, manifest, CONTROL)
    return None if raw is None else parse_control(raw, folder / CONTROL)


def parse_control(raw: bytes, path: Path) -> Control | None:
    """Reads the content of `control.json`, which lies at `path`; None where no attempt is in it.

    Raises:
        ArtifactError: as `read_control`.
    """
    mend = "export again with `edgexfer export RUN --target NAME`"
    content = parse_versioned(raw, path, FORMAT_VERSION, mend)
    try:
        attempts = tuple(_attempt(item) for item in content["attempts"])
        chosen = content["chosen"]
        found = Control(
            int(content["images"]),
            float(content["max_drop"]),
            float(content["float_top1"]),
            attempts,
            None if chosen is None else range(len(attempts))[chosen],
            int(content["ranked_on"]),
            {str(name): float(value) for name, value in content["sensitivity"].items()},
        )
        return found if attempts else None
    except DOES_NOT_FIT as error:
        raise ArtifactError(f"{path} has a record that does not fit: {error!r}", mend) from error


def _attempt(item: dict[str, Any]) -> Attempt:
    return Attempt(
        str(item["estimator"]),
        tuple(str(name) for name in item["float_layers"]),
        float(item["top1"]),
        int(item["lost"]),
        int(item["won"]),
        int(item["changed"]),
        int(item["size_bytes"]),
        holds=bool(item["holds"]),
    )


def _points(drop: float) -> str:
    return f"{100 * drop:.2f} points"
