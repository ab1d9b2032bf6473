"""What PLACE.partial holds of a network on its way (way.py): its points, kept and found again.

    point-N/              a checkpoint: the network as it was kept at this point, with the history of its training. Its
                          parent is the point before, the first one's what all is made from; `point` in its manifest is
                          what the way needs to go on from it, JSON
    running/              the point at work
      cut.json            parent: the digest of the point before; sha256 of cut.safetensors; record: as `point`
      cut.safetensors     the network before its first step: with fewer channels or more zeros than it had
      history.csv, ...    what `fit` keeps

So each point vouches for the one before it: one that is damaged, or belongs to another way, ends what is taken up.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import safetensors
import safetensors.torch
from torch import Tensor

from edgexfer.core.errors import ArtifactError
from edgexfer.core.files import explained_write, sha256_of_bytes, sha256_of_file, write_file
from edgexfer.core.staging import remove_at_once
from edgexfer.train.checkpoint import HISTORY, Checkpoint, empty_network, open_checkpoint, save_checkpoint
from edgexfer.train.deploy import DeployNetwork
from edgexfer.train.prune.narrow import narrow_to
from edgexfer.train.prune.way import RUNNING

log = logging.getLogger(__name__)

_CUT, _WEIGHTS = "cut.json", "cut.safetensors"
_CARRIED = ("name", "backbone", "preprocess", "pretrained", "settings", "mirror", "data", "val", "dataset_digest")


def kept_points(way: Path, checkpoint: Checkpoint) -> list[Checkpoint]:
    """Returns the points that have learned on the way from `checkpoint`, in order; all of their files were checked.

    One that is damaged is said and removed, and so are those after it: they are made again.
    """
    points: list[Checkpoint] = []
    while (folder := way / f"point-{len(points) + 1}").exists():
        before = points[-1] if points else checkpoint
        try:
            found = open_checkpoint(folder)
            if found.manifest["parent"] != before.digest:
                raise ArtifactError(f"{folder} was not made from {before.folder}")
            if not isinstance(found.manifest.get("point"), dict):
                raise ArtifactError(f"{folder} does not say how to go on from it")
        except ArtifactError as error:
            log.warning("%s: this point is reached again", error.message)
            for later in sorted(way.glob("point-*")):
                if int(later.name.partition("-")[2]) > len(points):
                    remove_at_once(later, later)
            break
        points.append(found)
    if points:
        log.info("going on after point %d, which was reached before", len(points))
    return points


def keep_point(
    way: Path,
    before: Checkpoint,
    network: DeployNetwork,
    *,
    number: int,
    record: Mapping[str, Any],
    best_epoch: int,
    metrics: Mapping[str, Any],
) -> Checkpoint:
    """Keeps a network that has learned in running/ as point-N, and removes running/.

    Args:
        way: PLACE.partial.
        before: the point before, or the checkpoint that all is made from.
        network: with the weights of its best epoch.
        number: N, from 1 on.
        record: what the way needs to go on from here, JSON.
        best_epoch: which one that was.
        metrics: of the network, by split.
    """
    made = save_checkpoint(
        way / f"point-{number}",
        state=network.state_dict(),
        history=way / RUNNING / HISTORY,
        rows=before.rows,
        labels=before.labels,
        content={
            **{key: before.manifest[key] for key in _CARRIED},
            "precision": "float32",
            "quantization": None,
            "best_epoch": best_epoch,
            "metrics": dict(metrics),
            "images_left_out": [],
            "parent": before.digest,
            "point": dict(record),
        },
        overwrite=True,
    )
    remove_at_once(way / RUNNING, way / RUNNING)
    return made


def keep_cut(way: Path, before: Checkpoint, network: DeployNetwork, record: Mapping[str, Any]) -> Path:
    """Begins running/ with a network that is about to learn, and returns that folder."""
    running = way / RUNNING
    remove_at_once(running, running)
    with explained_write(running):
        running.mkdir()
    tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in network.state_dict().items()}
    raw = safetensors.torch.save(tensors)
    write_file(running / _WEIGHTS, raw)
    cut = {"parent": before.digest, "sha256": sha256_of_bytes(raw), "record": dict(record)}
    write_file(running / _CUT, json.dumps(cut) + "\n")
    return running


def kept_cut(way: Path, before: Checkpoint) -> tuple[DeployNetwork, dict[str, Any]] | None:
    """Returns the network that was about to learn after `before`, and its record; None where there is none whole."""
    running = way / RUNNING
    try:
        cut = json.loads((running / _CUT).read_bytes())
        if cut["parent"] != before.digest or cut["sha256"] != sha256_of_file(running / _WEIGHTS):
            return None
        state: dict[str, Tensor] = safetensors.torch.load_file(running / _WEIGHTS)
        network = empty_network(before.backbone, len(before.labels), before.preprocess)
        narrow_to(network, state)
        network.load_state_dict(state)
        return network.eval(), dict(cut["record"])
    except (OSError, ValueError, KeyError, TypeError, RuntimeError, safetensors.SafetensorError):
        return None
