"""What every measurement says of itself: its subject, and its form as JSON.

    {"kind": "evaluation" | "latency", "format_version": 3, "summary": {...}, ...the measurement's own keys}

Version 2 added `slices` to images and `known_from` to evaluations, version 3 `started` to latencies; all may be absent,
so that older versions are read alike.
Nothing is averaged away: figures are computed from the raw values on demand. `summary` holds them for people and
for other programs; it is never read back.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

from edgexfer.backends import find_backend
from edgexfer.core.errors import ArtifactError, SettingsError
from edgexfer.core.toml import from_table
from edgexfer.runtime.classifier import Classifier

FORMAT_VERSIONS = {"evaluation": 2, "latency": 3, "surface": 1, "comparison": 1, "gate": 1}

T = TypeVar("T")


@dataclass(frozen=True)
class Subject:
    """What was measured, and with what.

    Attributes:
        bundle: the bundle's name.
        digest: SHA-256 that names the bundle.
        precision: what its network computes in.
        target: name of the device profile that it was made for.
        backend: name of the backend that ran it.
        engine: name and version of the inference engine.
        simulated: True where the target names neither as its own nor as a rival the backend that ran.
    """

    bundle: str
    digest: str
    precision: str
    target: str
    backend: str
    engine: str
    simulated: bool


def subject_of(classifier: Classifier) -> Subject:
    """Returns what is measured where `classifier` is."""
    bundle, backend = classifier.bundle, classifier.backend
    return Subject(
        str(bundle.manifest.get("name", bundle.folder.name)),
        bundle.digest,
        bundle.precision,
        bundle.target.name,
        backend,
        find_backend(backend).engine_version(),
        simulated=backend not in (bundle.target.backend, *bundle.target.rivals),
    )


def to_record(kind: str, measurement: Any, summary: dict[str, Any]) -> dict[str, Any]:
    """Makes the JSON record of a measurement.

    Args:
        kind: "evaluation", "latency", "surface" or "gate".
        measurement: the frozen dataclass.
        summary: its figures; one that does not exist (nan) becomes null.
    """
    content = dataclasses.asdict(measurement)
    record: dict[str, Any] = _plain(
        {"kind": kind, "format_version": FORMAT_VERSIONS[kind], "summary": summary, **content}
    )
    return record


def from_record(classes: Mapping[str, type[T]], record: Any, where: str, *, noun: str, again: str) -> T:
    """Reads what `to_record` made.

    Args:
        classes: the frozen dataclass of each kind that may come.
        record: parsed JSON.
        where: what is named in errors, such as the file.
        noun: what was expected, in words.
        again: how it is made anew, for the error's hint.

    Raises:
        ArtifactError: of another kind or format_version, or with keys or values that do not fit.
    """
    if not isinstance(record, dict) or record.get("kind") not in list(classes):  # it may be what cannot be hashed
        raise ArtifactError(f"{where} is not {noun}", again)
    read = range(1, FORMAT_VERSIONS[record["kind"]] + 1)
    if record.get("format_version") not in read:
        known = f"1 to {read[-1]}" if len(read) > 2 else " and ".join(map(str, read))
        raise ArtifactError(
            f"{where} has format_version {record.get('format_version')}, this edgexfer reads {known}", again
        )
    table = {key: value for key, value in record.items() if key not in ("kind", "format_version", "summary")}
    try:
        return from_table(classes[record["kind"]], table, where)
    except SettingsError as error:
        raise ArtifactError(error.message, error.hint or again) from error


def _plain(value: Any) -> Any:
    # JSON has no nan: a figure that does not exist is null. Tuples become lists, as they come back from a file.
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    return [_plain(item) for item in value] if isinstance(value, (list, tuple)) else value
