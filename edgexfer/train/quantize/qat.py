"""compress: Checkpoint -> Checkpoint. NNCF's quantizers learn with the weights, taught by the float network.

Range initialisation on calibration images of the training split, then quantization-aware training (Jacob et al.
2018) distilled from the float checkpoint. Epoch 0 of the history is the network right after calibration.
"""

from __future__ import annotations

import dataclasses
import logging
import math
from pathlib import Path

import torch

from edgexfer.core.errors import SettingsError
from edgexfer.core.held import held_place
from edgexfer.core.staging import refuse_existing, scratch_folder
from edgexfer.core.target import CalibrationRecipe, Target, load_calibration
from edgexfer.train.checkpoint import HISTORY, Checkpoint, save_checkpoint
from edgexfer.train.deploy import DeployNetwork
from edgexfer.train.images.augment import Augmentation
from edgexfer.train.images.prepared import Prepared, Progress
from edgexfer.train.loop.fit import fit
from edgexfer.train.loop.judge import figures_by_split
from edgexfer.train.loop.memory import keep_freed_memory
from edgexfer.train.loop.schedule import Schedule
from edgexfer.train.loop.trackers import Tracking, flat_figures
from edgexfer.train.loop.trainee import Trainee
from edgexfer.train.quantize.calibrate import calibration_rows
from edgexfer.train.quantize.learning_images import images_again
from edgexfer.train.quantize.quantizers import place_quantizers, quantizer_config
from edgexfer.train.sparse.zeros import keep_zeros
from edgexfer.train.task import usable_device

log = logging.getLogger(__name__)

_IMAGES_SEEN = 2_500  # by quantization-aware training unless told otherwise: in all, but between 1 and 3 epochs
# Calibration alone is close to the float network; larger steps or labels as teachers led away (docs/log.md).
_LEARNING_RATE = 5e-6
_DISTILLATION = 1.0


def compress(
    checkpoint: Checkpoint,
    target: Target,
    out: Path,
    *,
    data: str | Path | None = None,
    epochs: int | None = None,
    device: str = "auto",
    overwrite: bool = False,
    progress: Progress | None = None,
    tracked: Tracking | None = None,
) -> Checkpoint:
    """Quantizes a float checkpoint for a target and lets it learn with the quantizers in place.

    Args:
        checkpoint: a float one.
        target: decides dialect, weight bits and calibration recipe.
        out: the new checkpoint's folder.
        data: the images, where they are no longer where the checkpoint was trained.
        epochs: of quantization-aware training; 0 for calibration alone; None lets the number of images decide.
        device: "auto", "cpu" or "cuda".
        overwrite: replace an older `out`.
        progress: called with (done, all) while images are read.
        tracked: where settings and epochs are logged too, in the run that fine-tuning began where it has one; whoever
            opened it ends it.

    Raises:
        BusyError: another process is at work on `out`.
        EdgexferError: the images are gone or were changed, or `out` exists or cannot be written.
    """
    if epochs is not None and epochs < 0:
        raise SettingsError(f"epochs is {epochs}, expected 0 or more")
    refuse_existing(out, overwrite=overwrite)
    recipe = load_calibration(target.calibration)
    network = checkpoint.float_network()
    where = usable_device(device)
    keep_freed_memory()
    with (
        held_place(out),
        images_again(checkpoint, network, data, progress) as (prepared, learning),
        scratch_folder(out) as folder,
    ):
        tracking = Tracking() if tracked is None else tracked
        tracking.begin(str(checkpoint.manifest["name"]), checkpoint.manifest.get("trackers", ()))
        return _compress(
            checkpoint, network, prepared, learning, target, recipe, folder, out, epochs, where, overwrite, tracking
        )


def _compress(
    checkpoint: Checkpoint,
    network: DeployNetwork,
    prepared: Prepared,
    learning: Prepared,
    target: Target,
    recipe: CalibrationRecipe,
    folder: Path,
    out: Path,
    epochs: int | None,
    device: str,
    overwrite: bool,
    tracked: Tracking,
) -> Checkpoint:
    chosen = calibration_rows(learning.rows, recipe)
    log.info("calibrating on %d training images for %s", len(chosen), target.name)
    pixels = torch.from_numpy(learning.cache[chosen]).permute(0, 3, 1, 2)
    quantized = place_quantizers(network, pixels, target, recipe)
    if "sparsity" in checkpoint.manifest:
        keep_zeros(quantized.network)
    train, val = learning.indices("train"), learning.indices("val")
    if epochs is None:
        epochs = min(3, max(1, math.ceil(_IMAGES_SEEN / len(train))))
    schedule = Schedule(
        epochs=epochs,
        batch_size=min(32, len(train)),
        learning_rate=_LEARNING_RATE,
        layer_decay=1.0,
        label_smoothing=0.0,
        distillation=_DISTILLATION,
        seed=int(checkpoint.manifest["settings"]["seed"]),
    )
    augmentation = Augmentation(mirror=bool(checkpoint.manifest["mirror"]))
    ids = learning.class_ids
    trainee = Trainee(quantized, learning.cache, ids, train, val, schedule, augmentation, teacher=network)
    learned = {"dialect": target.dialect, "weight_bits": target.weight_bits, "recipe": dataclasses.asdict(recipe)}
    named = f"qat-{target.dialect}"  # a run is quantized for each dialect by itself
    tracked.settings({named: {**learned, "schedule": dataclasses.asdict(schedule)}})
    best = fit(trainee, folder, stage="qat", patience=None, device=device, tracked=tracked, tracked_as=named)
    kept = ("backbone", "preprocess", "pretrained", "settings", "mirror", "data", "val", "dataset_digest")
    content = {
        "name": checkpoint.manifest["name"],
        "precision": "int8",
        **{key: checkpoint.manifest[key] for key in kept},
        "best_epoch": best["epoch"],
        "metrics": figures_by_split(quantized, prepared),
        "float_metrics": checkpoint.manifest["metrics"],
        "temperature": checkpoint.manifest.get("temperature"),  # the float network's; its answers were learned
        "images_left_out": [],
        "trackers": tracked.records or checkpoint.manifest.get("trackers", []),
        "parent": checkpoint.digest,
        "quantization": {
            **learned,
            "images": [learning.rows[i].sha256 for i in chosen],
            "schedule": dataclasses.asdict(schedule),
            "nncf": quantizer_config(quantized),
        },
    }
    content |= {key: checkpoint.manifest[key] for key in ("pruning", "sparsity") if key in checkpoint.manifest}
    tracked.figures({f"{named}/{name}": value for name, value in flat_figures(content["metrics"]).items()})
    return save_checkpoint(
        out,
        state=quantized.state_dict(),
        history=folder / HISTORY,
        rows=prepared.rows,
        labels=checkpoint.labels,
        content=content,
        overwrite=overwrite,
        earlier=checkpoint.earlier_rows(),
    )
