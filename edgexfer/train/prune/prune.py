"""prune: a float Checkpoint -> a narrower float Checkpoint, by way of points that each lost a little more.

At each point channels are chosen (importance on training images, cost counted or from the latency table), removed, and
the network learns again. With the target's engine at hand every point is also timed against the unpruned network, and
where latency is the goal the choice is corrected until the clock agrees, before anything is trained.

`pruning` in the checkpoint's manifest: goal, measure, ratio, target, precision, parent (digest), block, removed
({group: [channels before, after]}), images (digests of those that importance was measured on), and points: {"ratio",
"params", "macs", "size_bytes", "latency": {"ratio", "low", "high", "latency_ms", "full_ms"}, "metrics": {split:
{"images", "right"}}, "epochs"}, the unpruned network first; size_bytes and latency are None without an engine.
"""

from __future__ import annotations

import copy
import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from edgexfer.backends import LayerTimer
from edgexfer.core.errors import ArtifactError, EdgexferError
from edgexfer.core.staging import refuse_existing, scratch_folder
from edgexfer.core.target import CalibrationRecipe, Target
from edgexfer.train.checkpoint import HISTORY, Checkpoint, save_checkpoint
from edgexfer.train.continual.earlier_task import stored_exemplars
from edgexfer.train.deploy import DeployNetwork
from edgexfer.train.dialects.to_onnx import example_for
from edgexfer.train.finetune import dataset_of
from edgexfer.train.head.temperature import judge_scaled
from edgexfer.train.images.prepared import Prepared, Progress, prepare_again
from edgexfer.train.loop.judge import figures_by_split
from edgexfer.train.loop.memory import keep_freed_memory
from edgexfer.train.loop.trackers import Tracking
from edgexfer.train.prune.choose_channels import BLOCK, best_channels, choose_widths
from edgexfer.train.prune.cost import Cost, Widths, counted
from edgexfer.train.prune.goal import Goal
from edgexfer.train.prune.groups import Group, channel_groups
from edgexfer.train.prune.importance import importances, input_means
from edgexfer.train.prune.narrow import remove_channels
from edgexfer.train.prune.recover import recover, recovery, write_joined_history
from edgexfer.train.prune.stand_ins import CALIBRATING, Race, StandIns, Timed
from edgexfer.train.quantize.calibrate import calibration_rows
from edgexfer.train.quantize.learning_images import learning_images
from edgexfer.train.task import usable_device

log = logging.getLogger(__name__)

_JUDGING = 256  # images that importance is measured on
_ATTEMPTS = 5
_WITHIN = 0.96  # of the wanted latency: faster than that gives accuracy away
_CLOSER = 0.995
_LOUD = 0.15  # width of a ratio's interval, as a share of it, beyond which the table is the better judge


@dataclass(frozen=True)
class Engine:
    """The target's engine on this machine.

    Attributes:
        timer: times single layers; None where the engine does not say.
        race: times whole networks.
        precision: what is timed, "int8" or "float32".
        version: such as "onnxruntime 1.31.1".
    """

    timer: LayerTimer | None
    race: Race
    precision: str
    version: str


def prune(
    checkpoint: Checkpoint,
    target: Target,
    goal: Goal,
    out: Path,
    *,
    engine: Engine | None,
    data: str | Path | None = None,
    epochs: int | None = None,
    device: str = "auto",
    overwrite: bool = False,
    progress: Progress | None = None,
    tracked: Tracking | None = None,
) -> Checkpoint:
    """Removes channels until the goal is reached, and lets what is left learn.

    Args:
        checkpoint: a float one.
        target: what it shall be fast on.
        goal: what shall be left.
        out: the new checkpoint's folder.
        engine: the target's engine; None where it is not here: nothing is timed then.
        data: the images, where they are no longer where the checkpoint was trained.
        epochs: of training at each point; None lets the number of images decide.
        device: "auto", "cpu" or "cuda".
        overwrite: replace an older `out`.
        progress: called with (done, all) while images are read.
        tracked: takes settings and epochs too; whoever opened it ends it.

    Raises:
        EdgexferError: the checkpoint is quantized, the goal cannot be reached, it asks for latency and there is no
            engine, the images are gone, or `out` exists or cannot be written.
    """
    refuse_existing(out, overwrite=overwrite)
    if goal.measure == "latency" and (engine is None or engine.timer is None):
        raise EdgexferError(f"there is nothing to measure latency with for {target.name}", "prune by macs= or params=")
    if "pruning" in checkpoint.manifest:
        raise ArtifactError(f"{checkpoint.folder} is pruned already", "prune the RUN it was made from, and further")
    teacher = checkpoint.float_network()
    where = usable_device(device)
    keep_freed_memory()
    dataset = dataset_of(checkpoint, data)
    prepared = prepare_again(dataset, checkpoint.preprocess, checkpoint.rows, checkpoint.labels, progress)
    with (
        scratch_folder(out) as folder,
        prepared.cache,
        learning_images(checkpoint, teacher, prepared) as learning,
    ):
        tracking = Tracking() if tracked is None else tracked
        tracking.begin(str(checkpoint.manifest["name"]), checkpoint.manifest.get("trackers", ()))
        work = _Work(checkpoint, target, goal, teacher, prepared, learning, where, epochs, folder, tracking)
        return _saved(work, *_narrowed(work, engine), out, overwrite=overwrite)


@dataclass(frozen=True)
class _Work:
    checkpoint: Checkpoint
    target: Target
    goal: Goal
    teacher: DeployNetwork
    prepared: Prepared
    learning: Prepared
    device: str
    epochs: int | None
    folder: Path
    tracked: Tracking


def _narrowed(work: _Work, engine: Engine | None) -> tuple[DeployNetwork, dict[str, Any], list[Path], dict[str, Any]]:
    """Returns the network of the last point, the record `pruning`, each point's folder, and the epoch kept last."""
    goal, network = work.goal, copy.deepcopy(work.teacher)
    example = example_for(work.checkpoint, network)
    groups = channel_groups(network.network, example)
    full = _widths(groups)
    seen = calibration_rows(work.learning.rows, CalibrationRecipe("importance", images=_JUDGING))
    counts = {measure: counted(network.network, groups, example, measure) for measure in ("params", "macs")}
    stand_ins = None
    if engine is not None:
        log.info("writing the unpruned network in %s, to be timed with %s", engine.precision, engine.version)
        stand_ins = StandIns(
            work.checkpoint, work.teacher, groups, work.learning.cache[seen[:CALIBRATING]], work.target,
            precision=engine.precision, race=engine.race, folder=work.folder,
        )  # fmt: skip
    if goal.measure == "latency":
        assert engine is not None  # noqa: S101 - `prune` has made sure
        assert engine.timer is not None  # noqa: S101
        assert stand_ins is not None  # noqa: S101
        log.info("timing its layers at other widths")
        cost = stand_ins.table(engine.timer, _told("layers"))
    else:
        cost = counts[goal.measure]
    points = [_point(1.0, full, counts, stand_ins, None, figures_by_split(work.teacher, work.prepared), 0)]
    choice = _Choice(goal, cost, stand_ins, full)
    folders: list[Path] = []
    best: dict[str, Any] = {}
    for number, ratio in enumerate(goal.points):
        network.to(work.device)
        means = input_means(network, groups, work.learning.cache, seen)
        worth = importances(network, groups, means, work.learning.cache, work.learning.class_ids, seen)
        network.cpu()
        widths, timed = choice.at(ratio, worth)
        remove_channels(network.network, groups, best_channels(worth, widths), means)
        groups = tuple(replace(group, width=int(width)) for group, width in zip(groups, widths, strict=True))
        last = number == len(goal.points) - 1
        schedule = recovery(
            len(work.learning.indices("train")),
            epochs=work.epochs, last=last, seed=int(work.checkpoint.manifest["settings"]["seed"]),
        )  # fmt: skip
        log.info(
            "point %d of %d: %s of the MACs, %s of the parameters%s; learning for %d epochs",
            number + 1, len(goal.points),
            *(_share(counts[measure], widths, full) for measure in ("macs", "params")),
            "" if timed is None else f", {timed.ratio:.2f} of the latency", schedule.epochs,
        )  # fmt: skip
        folder = work.folder / f"point-{number + 1}"
        folder.mkdir()
        best = recover(
            network, work.teacher, work.learning, schedule, folder,
            mirror=bool(work.checkpoint.manifest["mirror"]), device=work.device, tracked=work.tracked,
        )  # fmt: skip
        folders.append(folder)
        figures = figures_by_split(network, work.prepared)
        points.append(_point(ratio, widths, counts, stand_ins, timed, figures, schedule.epochs))
        log.info("top-1 on val %.1f %%, unpruned %.1f %%", *(100 * _top1(point) for point in (points[-1], points[0])))
    record = {
        "goal": str(goal), "measure": goal.measure, "ratio": goal.ratio, "target": work.target.name,
        "precision": None if engine is None else engine.precision,
        "engine": None if engine is None else engine.version,
        "parent": work.checkpoint.digest,
        "block": BLOCK, "epochs": work.epochs, "distillation": schedule.distillation,
        "learning_rate": schedule.learning_rate,
        "removed": {g.name: [int(had), g.width] for g, had in zip(groups, full, strict=True) if g.width != had},
        "images": [work.learning.rows[row].sha256 for row in seen],
        "points": points,
    }  # fmt: skip
    return network, record, folders, best


class _Choice:
    """Chooses widths for one ratio after the other; what the clock said at one point corrects the next."""

    def __init__(self, goal: Goal, cost: Cost, stand_ins: StandIns | None, full: Widths) -> None:
        self._goal, self._cost, self._stand_ins, self._full = goal, cost, stand_ins, full
        self._correction = 1.0  # what the table must say for the clock to say 1

    def at(self, ratio: float, worth: Sequence[torch.Tensor]) -> tuple[Widths, Timed | None]:
        """Returns the widths at which the measure is `ratio` of the unpruned one's, and their time."""
        whole = self._cost.of(self._full)
        if self._goal.measure != "latency" or self._stand_ins is None:
            widths = choose_widths(worth, self._cost, ratio * whole)
            return widths, None if self._stand_ins is None else self._stand_ins.timed(widths)
        tried: list[tuple[Widths, Timed]] = []
        for _ in range(_ATTEMPTS):
            widths = choose_widths(worth, self._cost, ratio * self._correction * whole)
            if any((widths == had).all() for had, _ in tried):
                break
            timed = self._stand_ins.timed(widths)
            tried.append((widths, timed))
            log.info("the table's %.3f is %.3f by the clock", self._cost.of(widths) / whole, timed.ratio)
            if timed.high - timed.low > _LOUD * timed.ratio:
                log.warning(
                    "this machine is too loud to time the network (ratio %.2f to %.2f): the table decides",
                    timed.low, timed.high,
                )  # fmt: skip
                return widths, timed
            if _WITHIN * ratio <= timed.ratio <= ratio:
                break
            self._correction *= _CLOSER * ratio / timed.ratio
        held = [found for found in tried if found[1].ratio <= ratio]
        if not held:
            widths, timed = min(tried, key=lambda found: found[1].ratio)
            log.warning("%.3f of the latency is as near as the clock came to %g", timed.ratio, ratio)
            return widths, timed
        return max(held, key=lambda found: found[1].ratio)


def _point(
    ratio: float,
    widths: Widths,
    counts: Mapping[str, Cost],
    stand_ins: StandIns | None,
    timed: Timed | None,
    figures: dict[str, Any],
    epochs: int,
) -> dict[str, Any]:
    return {
        "ratio": ratio,
        **{measure: round(cost.of(widths)) for measure, cost in counts.items()},
        "size_bytes": None if stand_ins is None else stand_ins.size_bytes(widths),
        "latency": None if timed is None else asdict(timed),
        "metrics": {
            split: {"images": found["images"], "right": round(found["top1"] * found["images"])}
            for split, found in figures.items()
        },
        "epochs": epochs,
    }


def _saved(
    work: _Work,
    network: DeployNetwork,
    pruning: dict[str, Any],
    folders: Sequence[Path],
    best: dict[str, Any],
    out: Path,
    *,
    overwrite: bool,
) -> Checkpoint:
    checkpoint = work.checkpoint
    metrics, temperature = judge_scaled(
        network, work.prepared, scale=bool(checkpoint.manifest["settings"].get("temperature_scaling", False))
    )
    first = write_joined_history(checkpoint.folder / HISTORY, folders, work.folder / HISTORY)
    kept = ("name", "backbone", "precision", "quantization", "preprocess", "pretrained", "settings", "mirror", "data")
    exemplars = stored_exemplars(checkpoint)
    content = {
        **{key: checkpoint.manifest[key] for key in (*kept, "val", "dataset_digest")},
        "best_epoch": first + int(best["epoch"]),
        "metrics": metrics,
        "unpruned_metrics": checkpoint.manifest["metrics"],
        "temperature": temperature,
        "images_left_out": [],
        "trackers": work.tracked.records or checkpoint.manifest.get("trackers", []),
        "parent": checkpoint.digest,
        "pruning": pruning,
    }
    return save_checkpoint(
        out,
        state=network.state_dict(),
        history=work.folder / HISTORY,
        rows=work.prepared.rows,
        labels=checkpoint.labels,
        content=content,
        overwrite=overwrite,
        earlier=checkpoint.earlier_rows(),
        exemplars=None if exemplars is None else vars(exemplars),
    )


def _widths(groups: Sequence[Group]) -> NDArray[np.int64]:
    return np.array([group.width for group in groups], np.int64)


def _share(cost: Cost, widths: Widths, full: Widths) -> str:
    return f"{cost.of(widths) / cost.of(full):.2f}"


def _top1(point: dict[str, Any]) -> float:
    found = point["metrics"]["val"]
    return float(found["right"] / found["images"])


def _told(what: str) -> Callable[[int, int], None]:
    """Returns a progress that says every quarter of the way in the log."""

    def tell(done: int, whole: int) -> None:
        if done * 4 // whole != (done - 1) * 4 // whole:
            log.info("%s timed: %d of %d files", what, done, whole)

    return tell
