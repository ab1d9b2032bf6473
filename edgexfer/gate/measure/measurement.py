"""Measurements read back: JSON that `evaluate --json` or `bench --json` wrote becomes the same frozen record again."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from edgexfer.core.errors import ArtifactError
from edgexfer.gate.measure.evaluation import Evaluation
from edgexfer.gate.measure.latency import STEPS, Latency
from edgexfer.gate.measure.record import from_record

__all__ = ["Evaluation", "Latency", "measurement_from_json", "read_measurement"]

_LONGEST_NS = 10**13


def measurement_from_json(record: Any, where: str = "the measurement") -> Evaluation | Latency:
    """Reads what `to_json` wrote.

    Args:
        record: parsed JSON.
        where: what is named in errors, such as the file.

    Raises:
        ArtifactError: not a measurement, of another format_version, or with keys or values that do not fit.
    """
    remade = "measure again with `edgexfer evaluate` or `edgexfer bench`"
    classes: dict[str, type[Evaluation | Latency]] = {"evaluation": Evaluation, "latency": Latency}
    found = from_record(classes, record, where, noun="a measurement of edgexfer", again=remade)
    if isinstance(found, Latency):
        for step in STEPS:
            samples = found.samples_ns.get(step, ())
            if not samples or min(samples) < 0 or max(samples) > _LONGEST_NS:
                raise ArtifactError(f"{where}: the times of '{step}' are none", remade)
        return found
    known = set(found.labels)
    if strange := next((i for i in found.images if not {i.label, i.predicted} <= known), None):
        raise ArtifactError(f"{where}: {strange.path} has a class that is not among the labels", remade)
    return found


def read_measurement(path: Path) -> Evaluation | Latency:
    """Reads a measurement's file.

    Raises:
        ArtifactError: missing, not JSON, or not a measurement that this edgexfer reads.
    """
    try:
        record = json.loads(path.read_bytes())
    except OSError as error:
        raise ArtifactError(f"cannot read {path}: {error.strerror}") from error
    except (ValueError, RecursionError) as error:
        raise ArtifactError(f"{path} is not valid JSON: {error}") from error
    return measurement_from_json(record, str(path))
