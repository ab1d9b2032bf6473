"""Measurements read back: JSON that `evaluate --json` or `bench --json` wrote becomes the same frozen record again."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from edgexfer.core.errors import ArtifactError, SettingsError
from edgexfer.core.toml import from_table
from edgexfer.gate.measure.evaluation import Evaluation
from edgexfer.gate.measure.latency import Latency
from edgexfer.gate.measure.record import FORMAT_VERSION

__all__ = ["Evaluation", "Latency", "measurement_from_json", "read_measurement"]


def measurement_from_json(record: Any, where: str = "the measurement") -> Evaluation | Latency:
    """Reads what `to_json` wrote.

    Args:
        record: parsed JSON.
        where: what is named in errors, such as the file.

    Raises:
        ArtifactError: not a measurement, of another format_version, or with keys or values that do not fit.
    """
    remade = "measure again with `edgexfer evaluate` or `edgexfer bench`"
    if not isinstance(record, dict) or record.get("kind") not in ("evaluation", "latency"):
        raise ArtifactError(f"{where} is not a measurement of edgexfer", remade)
    if record.get("format_version") != FORMAT_VERSION:
        raise ArtifactError(
            f"{where} has format_version {record.get('format_version')}, this edgexfer reads {FORMAT_VERSION}", remade
        )
    table = {key: value for key, value in record.items() if key not in ("kind", "format_version", "summary")}
    try:
        if record["kind"] == "latency":
            return from_table(Latency, table, where)
        evaluation = from_table(Evaluation, table, where)
    except SettingsError as error:
        raise ArtifactError(error.message, error.hint or remade) from error
    known = set(evaluation.labels)
    if strange := next((i for i in evaluation.images if not {i.label, i.predicted} <= known), None):
        raise ArtifactError(f"{where}: {strange.path} has a class that is not among the labels", remade)
    return evaluation


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
