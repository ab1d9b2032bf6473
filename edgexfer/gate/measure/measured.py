"""`measurements.json` of a bundle: what `export` measured before it chose what to ship.

    {"format_version": 1, "records": [{"precision": "float32" | "int8", "evaluation": {...}, "latency": {...} | null,
                                       "size_bytes": 123, "shipped": true | false}, ...]}

`evaluation` and `latency` are the records of evaluation.py and latency.py beside this file. `size_bytes` is that of
the ONNX file in this precision; `latency` is null where the target's engine is not on the exporting machine.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from edgexfer.core.bundle import MEASUREMENTS, Bundle
from edgexfer.core.errors import ArtifactError
from edgexfer.core.files import write_file
from edgexfer.core.manifest import MOST_BYTES, read_if_listed
from edgexfer.core.target import PRECISIONS
from edgexfer.core.versioned import DOES_NOT_FIT
from edgexfer.gate.measure.evaluation import Evaluation
from edgexfer.gate.measure.latency import Latency
from edgexfer.gate.measure.measurement import measurement_from_json

FORMAT_VERSION = 1
_MEND = "export the bundle again with `edgexfer export RUN --target NAME`"


@dataclass(frozen=True)
class Measured:
    """One precision of a network, as it was measured at export.

    Attributes:
        precision: what the network computes in, "float32" or "int8".
        evaluation: its answers, image by image.
        latency: its samples, or None where it could not run on this machine as it will on the target.
        size_bytes: of its ONNX file.
        shipped: whether this is what the bundle holds.
    """

    precision: str
    evaluation: Evaluation
    latency: Latency | None
    size_bytes: int
    shipped: bool

    def to_json(self) -> dict[str, Any]:
        """Returns this record as it stands in the file."""
        return {
            "precision": self.precision,
            "evaluation": self.evaluation.to_json(),
            "latency": None if self.latency is None else self.latency.to_json(),
            "size_bytes": self.size_bytes,
            "shipped": self.shipped,
        }


def write_measured(folder: Path, records: Sequence[Measured]) -> None:
    """Writes `measurements.json` into the folder that will be a bundle.

    Raises:
        EdgexferError: it cannot be written.
    """
    content = {"format_version": FORMAT_VERSION, "records": [record.to_json() for record in records]}
    write_file(folder / MEASUREMENTS, json.dumps(content, indent=1, ensure_ascii=False) + "\n")


def read_measured(bundle: Bundle) -> tuple[Measured, ...]:
    """Reads `measurements.json` of a bundle; empty where the bundle has none.

    Raises:
        ArtifactError: not JSON, of another format_version, or a record that does not fit.
    """
    path, raw = bundle.folder / MEASUREMENTS, read_if_listed(bundle.folder, bundle.manifest, MEASUREMENTS)
    if raw is None:
        return ()
    try:
        content = json.loads(raw)
    except (ValueError, RecursionError) as error:
        raise ArtifactError(f"{path} is not valid JSON: {error}", _MEND) from error
    if not isinstance(content, dict) or content.get("format_version") != FORMAT_VERSION:
        found = content.get("format_version") if isinstance(content, dict) else content
        raise ArtifactError(f"{path} has format_version {found}, this edgexfer reads {FORMAT_VERSION}", _MEND)
    try:
        return tuple(measured_from_json(record, str(path)) for record in content["records"])
    except ArtifactError:
        raise
    except DOES_NOT_FIT as error:
        raise ArtifactError(f"{path} has a record that does not fit: {error!r}", _MEND) from error


def measured_from_json(record: dict[str, Any], where: str) -> Measured:
    """Reads what `to_json` wrote; `where` is named in errors.

    Raises:
        ArtifactError: an unknown precision, or one of the two measurements does not fit.
        KeyError: something is missing.
    """
    if record["precision"] not in PRECISIONS:
        raise ArtifactError(f"{where} has precision {record['precision']!r}, known: {', '.join(PRECISIONS)}", _MEND)
    evaluation = measurement_from_json(record["evaluation"], where)
    latency = None if record["latency"] is None else measurement_from_json(record["latency"], where)
    if not isinstance(evaluation, Evaluation) or not isinstance(latency, (Latency, type(None))):
        raise ArtifactError(f"{where} has an evaluation and a latency in each other's place", _MEND)
    size_bytes = int(record["size_bytes"])
    if not 0 < size_bytes <= MOST_BYTES:
        raise ArtifactError(f"{where} has a file of {str(size_bytes)[:40]} bytes, expected 1 to {MOST_BYTES}", _MEND)
    return Measured(str(record["precision"]), evaluation, latency, size_bytes, shipped=bool(record["shipped"]))
