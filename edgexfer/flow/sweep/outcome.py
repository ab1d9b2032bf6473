"""What came of a sweep: every trial, the Pareto front of accuracy against latency, and the settings to take.

`sweep.json`, written after every trial:

    {"kind": "sweep", "format_version": 1, "study", "storage" (without a password), "target", "engine", "measured_on",
     "warnings": [...], "speeds": {"BACKBONE@SIZE": {"latency_ms", "precision", "tried", "reason"}},
     "trials": [{"number", "kind", "settings", "val_top1", "test_top1", "latency_ms", "val_top1_by_epoch", "seconds",
                 "host", "checkpoint", "same_as", "reason"}], "front": [number, ...], "best": number or null}

`best.toml` holds the settings of the best trial, for `edgexfer finetune DATA --config best.toml`.
"""

from __future__ import annotations

import dataclasses
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgexfer.core.toml import to_toml
from edgexfer.flow.sweep.pareto import pareto_front
from edgexfer.flow.sweep.speed import Speeds
from edgexfer.flow.sweep.study import kind_of
from edgexfer.train.settings import FinetuneSettings

if TYPE_CHECKING:
    from optuna import Study
    from optuna.trial import FrozenTrial

RECORD, BEST = "sweep.json", "best.toml"
FORMAT_VERSION = 1
_PLAIN = {field.name: field.default for field in dataclasses.fields(FinetuneSettings)}


@dataclass(frozen=True)
class Tried:
    """One trial.

    Attributes:
        number: its own in the study, 0-based.
        kind: complete, repeated, pruned, infeasible, failed, running or waiting.
        settings: of finetune; empty where it was not begun.
        val_top1: accuracy on the images that choose, 0 to 1.
        test_top1: accuracy on images that chose nothing; None where there are none.
        latency_ms: the median of one whole prediction.
        val_top1_by_epoch: epoch 0 is the network before the first step.
        seconds: how long it took.
        host: the machine that ran it.
        checkpoint: where its network lies on that machine; None where it is not kept.
        same_as: the trial that had the same settings.
        reason: why it is infeasible.
    """

    number: int
    kind: str
    settings: dict[str, Any]
    val_top1: float | None = None
    test_top1: float | None = None
    latency_ms: float | None = None
    val_top1_by_epoch: tuple[float, ...] = ()
    seconds: float | None = None
    host: str = ""
    checkpoint: Path | None = None
    same_as: int | None = None
    reason: str = ""


@dataclass(frozen=True)
class Sweep:
    """A sweep as it stands.

    Attributes:
        out: its folder on this machine.
        study: its name.
        storage: the database, without a password.
        target: name of the device profile.
        speeds: the latency of every network in the space.
        trials: all of them, by number.
        front: those that no other beats in both accuracy and latency, the fastest first.
        best: of the front the one to take: the most accurate that keeps the latency limit; None where there is none.
        warnings: what to know, in sentences.
    """

    out: Path
    study: str
    storage: str
    target: str
    speeds: Speeds
    trials: tuple[Tried, ...]
    front: tuple[Tried, ...]
    best: Tried | None
    warnings: tuple[str, ...] = ()

    def counts(self) -> Counter[str]:
        """Returns how many trials there are of each kind."""
        return Counter(trial.kind for trial in self.trials)

    def to_json(self) -> dict[str, Any]:
        """Returns the record that `sweep.json` holds."""
        return {
            "kind": "sweep",
            "format_version": FORMAT_VERSION,
            "study": self.study,
            "storage": self.storage,
            "target": self.target,
            "engine": self.speeds.engine,
            "measured_on": self.speeds.host,
            "warnings": list(self.warnings),
            "speeds": self.speeds.to_json()["of"],
            "trials": [
                {
                    **dataclasses.asdict(trial),
                    "val_top1_by_epoch": list(trial.val_top1_by_epoch),
                    "checkpoint": None if trial.checkpoint is None else str(trial.checkpoint),
                }
                for trial in self.trials
            ],
            "front": [trial.number for trial in self.front],
            "best": None if self.best is None else self.best.number,
        }

    def best_toml(self) -> str:
        """Returns the settings of the best trial that differ from finetune's defaults, as TOML; "" without one."""
        return "" if self.best is None else to_toml(differing(self.best.settings))


def outcome(study: Study, speeds: Speeds, out: Path, *, storage: str, target: str, limit_ms: float | None) -> Sweep:
    """Reads a study and says what came of it so far.

    Args:
        study: the study.
        speeds: the latency of every network in the space.
        out: the sweep's folder on this machine.
        storage: the database, without a password.
        target: name of the device profile.
        limit_ms: latency that the best one may not exceed; None for no limit.
    """
    trials = tuple(_tried(trial, speeds) for trial in study.get_trials(deepcopy=False))
    whole = [trial for trial in trials if trial.kind == "complete"]
    points = [(trial.val_top1 or 0.0, trial.latency_ms or 0.0) for trial in whole]
    front = tuple(whole[index] for index in pareto_front(points))
    fitting = [trial for trial in front if limit_ms is None or (trial.latency_ms or 0.0) <= limit_ms]
    best = max(fitting, key=lambda trial: trial.val_top1 or 0.0, default=None)
    warnings = list(speeds.warnings)
    if front and best is None:
        warnings.append(f"no trial keeps the limit of {limit_ms:g} ms: the fastest takes {front[0].latency_ms:.1f} ms")
    return Sweep(out, study.study_name, storage, target, speeds, trials, front, best, tuple(warnings))


def differing(settings: dict[str, Any]) -> dict[str, Any]:
    """Returns those settings that are not finetune's defaults, and those that a sweep is about in any case."""
    always = ("backbone", "strategy", "input_size")
    return {
        name: value
        for name, value in settings.items()
        if value is not None and (name in always or value != _PLAIN.get(name))
    }


def _tried(trial: FrozenTrial, speeds: Speeds) -> Tried:
    known = trial.user_attrs
    settings, place = dict(known.get("settings", {})), known.get("checkpoint")
    kind = kind_of(trial)
    # Not the value that the trial was told: the networks may have been timed again since.
    speed = speeds.of.get(f"{settings.get('backbone')}@{settings.get('input_size')}")
    return Tried(
        trial.number,
        kind,
        settings,
        trial.values[0] if kind in ("complete", "repeated") else None,
        known.get("test_top1"),
        None if speed is None else speed.latency_ms,
        tuple(known.get("val_top1", ())),
        known.get("seconds"),
        (known.get("worker") or {}).get("host", ""),
        None if place is None else Path(place),
        known.get("same_as"),
        known.get("infeasible", ""),
    )
