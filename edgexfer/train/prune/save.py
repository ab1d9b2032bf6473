"""Saving a float checkpoint whose network was changed and learned again, as a descendant of the one it was."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from edgexfer.train.checkpoint import HISTORY, Checkpoint, save_checkpoint
from edgexfer.train.continual.earlier_task import stored_exemplars
from edgexfer.train.deploy import DeployNetwork
from edgexfer.train.head.temperature import judge_scaled
from edgexfer.train.images.prepared import Prepared
from edgexfer.train.loop.trackers import Tracking, flat_figures
from edgexfer.train.prune.recover import write_joined_history


def save_recovered(
    checkpoint: Checkpoint,
    network: DeployNetwork,
    prepared: Prepared,
    out: Path,
    *,
    records: dict[str, Any],
    points: Sequence[Path],
    best_epoch: int,
    folder: Path,
    tracked: Tracking,
    tracked_as: str,
    overwrite: bool,
) -> Checkpoint:
    """Judges the network and writes it as a float checkpoint.

    Args:
        checkpoint: the one it descends from.
        network: what has learned again.
        prepared: the checkpoint's images: they judge.
        out: the new checkpoint's folder.
        records: keys of the manifest that say what was done.
        points: folders that `recover` trained in.
        best_epoch: the epoch of the last of them that was kept.
        folder: for what is needed on the way.
        tracked: takes the figures.
        tracked_as: what they are called there.
        overwrite: replace an older `out`.
    """
    manifest = checkpoint.manifest
    metrics, temperature = judge_scaled(
        network, prepared, scale=bool(manifest["settings"].get("temperature_scaling", False))
    )
    first = write_joined_history(checkpoint.folder / HISTORY, points, folder / HISTORY)
    kept = ("name", "backbone", "precision", "quantization", "preprocess", "pretrained", "settings", "mirror", "data")
    exemplars = stored_exemplars(checkpoint)
    size = checkpoint.preprocess.height, checkpoint.preprocess.width
    content: dict[str, Any] = {
        **{key: manifest[key] for key in (*kept, "val", "dataset_digest")},
        "best_epoch": first + best_epoch,
        "metrics": metrics,
        "temperature": temperature,
        "images_left_out": [],
        "trackers": tracked.records or manifest.get("trackers", []),
        "parent": checkpoint.digest,
        **{key: manifest[key] for key in ("found", "unlabeled", "pruning", "unpruned_metrics") if key in manifest},
        **records,
    }
    # What it was adapted to decides what quantizers learn on; what its training was warned of is its own.
    notes = manifest.get("strategy_notes") or {}
    content["strategy_notes"] = {key: value for key, value in notes.items() if key != "guards"}
    tracked.figures({f"{tracked_as}/{name}": value for name, value in flat_figures(metrics).items()})
    return save_checkpoint(
        out,
        state=network.state_dict(),
        history=folder / HISTORY,
        rows=prepared.rows,
        labels=checkpoint.labels,
        content=content,
        overwrite=overwrite,
        earlier=checkpoint.earlier_rows(),
        exemplars=None if exemplars is None else vars(exemplars.resized(*size)),
    )
