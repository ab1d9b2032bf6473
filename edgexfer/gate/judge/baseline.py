"""Baseline files: written, read back with every doubt, and found by bundle, target and machine class.

    baselines/<bundle>/<target>--<machine class>-<6 digits>.json

The digits are of the SHA-256 of the machine class, so that two classes never share a file however they are spelled.
Files of every format_version that ever was are read; see tests/golden/baseline/.
"""

from __future__ import annotations

import dataclasses
import json
import math
import re
import unicodedata
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgexfer.core.errors import ArtifactError, SettingsError
from edgexfer.core.files import sha256_of_bytes, write_file
from edgexfer.core.toml import from_table
from edgexfer.gate.judge.baseline_record import FORMAT_VERSION, ROLES, ROWS, SCORE, Accepted, Baseline
from edgexfer.gate.judge.figures import figures_of
from edgexfer.gate.judge.packed import unpack
from edgexfer.gate.measure.latency import STEPS

__all__ = [
    "Accepted",
    "Baseline",
    "all_baselines",
    "baseline_from_json",
    "baseline_place",
    "find_baseline",
    "read_baseline",
    "what_is_there",
    "write_baseline",
]

_MOST_BYTES = 64 << 20
_MEND = "accept it again with `edgexfer baseline accept BUNDLE`, or take the file from git"
_LONGEST_NS = 10**13
_EDITED = 1e-3
_LONGEST_NAME = 80
_LISTED = 6


def baseline_place(folder: Path, name: str, target: str, machine_class: str) -> Path:
    """Returns where the baseline of a bundle for a target on a machine class lies, whether or not it is there."""
    return folder / _plain(name) / f"{_plain(target)}--{_slug(machine_class)}-{_short_hash(machine_class)}.json"


def find_baseline(folder: Path, name: str, target: str, machine_class: str) -> Path | None:
    """Returns the file in `folder` that fits; None where there is none (`what_is_there` says what there is instead)."""
    place = baseline_place(folder, name, target, machine_class)
    return place if place.is_file() else None


def all_baselines(folder: Path) -> list[tuple[Path, Baseline]]:
    """Returns every file of `folder` that can be read as a baseline, sorted by path."""
    found = []
    for path in sorted(folder.glob("*/*.json")):
        try:
            found.append((path, read_baseline(path)))
        except ArtifactError:
            continue  # what is no baseline, or a damaged one, fits nothing
    return found


def what_is_there(folder: Path, name: str, target: str, machine_class: str) -> str:
    """Explains, where nothing fits, what `folder` does hold: one sentence that names it."""
    wanted = f"no baseline of {name} for {target} on '{machine_class}'"
    if not folder.is_dir():
        return f"{folder} is not there: {wanted}"
    readable = [(one.subject.bundle, one.subject.target, one.machine_class) for _, one in all_baselines(folder)]
    own = [(its_target, its_class) for its_name, its_target, its_class in readable if its_name == name]
    machines = sorted({its_class for its_target, its_class in own if its_target == target})
    targets = sorted({its_target for its_target, _ in own})
    if machines:
        return f"{folder} has {wanted}; it has them for other machines: {_listed(machines)}"
    if targets:
        return f"{folder} has {wanted}; it has {name} for other targets: {_listed(targets)}"
    if names := sorted({its_name for its_name, _, _ in readable}):
        return f"{folder} has {wanted}; it has other bundles: {_listed(names)}"
    files = len(list(folder.glob("*/*.json")))
    rest = f"; {files} of its files cannot be read as baselines" if files else ""
    return f"{folder} has {wanted}, nor any other{rest}"


def write_baseline(baseline: Baseline, path: Path) -> None:
    """Writes the file, whole or not at all; the same baseline gives the same bytes.

    Raises:
        EdgexferError: it cannot be written.
    """
    content: dict[str, Any] = {"kind": "baseline", "format_version": FORMAT_VERSION}
    content |= {key: value for key, value in dataclasses.asdict(baseline).items() if key != "format_version"}
    content["figures"] = {name: _short(value) for name, value in baseline.figures.items()}
    text = json.dumps(content, indent=1, ensure_ascii=False, allow_nan=False)
    # Numbers of one list stand in one line. A text has no line break in JSON, so only lists are met here.
    text = re.sub(r"\[\n\s*([-+0-9.eE,\s]+?)\n\s*\]", lambda found: f"[{' '.join(found[1].split())}]", text)
    write_file(path, (text + "\n").encode("utf-8", "backslashreplace"))


def read_baseline(path: Path) -> Baseline:
    """Reads a file and checks all of it.

    Raises:
        ArtifactError: missing, not a baseline, of a later format_version, damaged, or edited by hand.
    """
    try:
        with path.open("rb") as file:
            raw = file.read(_MOST_BYTES + 1)
        if len(raw) > _MOST_BYTES:
            raise ArtifactError(f"{path} is larger than any baseline ({_MOST_BYTES >> 20} MiB)", _MEND)
        content = json.loads(raw, parse_constant=_refuse)
    except OSError as error:
        raise ArtifactError(f"cannot read {path}: {error.strerror}", _MEND) from error
    except (ValueError, RecursionError) as error:
        if isinstance(error, ArtifactError):
            raise
        raise ArtifactError(f"{path} is not valid JSON: {' '.join(str(error).split())}", _MEND) from error
    return baseline_from_json(content, str(path))


def baseline_from_json(content: Any, where: str) -> Baseline:
    """Reads what a file holds; `where` is named in errors.

    Raises:
        ArtifactError: as `read_baseline`.
    """
    if not isinstance(content, dict) or content.get("kind") != "baseline":
        raise ArtifactError(f"{where} is not a baseline of edgexfer", _MEND)
    version = content.get("format_version")
    if type(version) is not int or not 1 <= version <= FORMAT_VERSION:
        raise ArtifactError(
            f"{where} has format_version {version!r}, this edgexfer reads 1 to {FORMAT_VERSION}",
            "use the edgexfer that wrote it, or a later one",
        )
    try:
        baseline = from_table(Baseline, {key: value for key, value in content.items() if key != "kind"}, where)
    except SettingsError as error:
        raise ArtifactError(error.message, error.hint or _MEND) from error
    _check(baseline, where)
    return baseline


def _check(baseline: Baseline, where: str) -> None:
    calls = {step: unpack(packed, f"{where}: packed_calls.{step}") for step, packed in baseline.packed_calls.items()}
    workload = unpack(baseline.packed_workload, f"{where}: packed_workload")
    for key, values in (*calls.items(), ("workload", workload)):
        if values.ndim != 2 or values.min() < 0 or values.max() > _LONGEST_NS:
            raise ArtifactError(f"{where}: the times of {key} are none", _MEND)
    shapes = {values.shape for values in calls.values()}
    if not calls.keys() >= set(STEPS) or len(shapes) != 1 or calls["total"].min() < 1 or workload.min() < 1:
        raise ArtifactError(f"{where}: the times of the steps do not belong together", _MEND)
    if len(workload) != len(calls["total"]):
        raise ArtifactError(f"{where}: bundle and workload were not measured in turns", _MEND)
    numbers = [*baseline.load_ms, *baseline.peak_memory_mib, *baseline.power_w]
    numbers += [value for value in baseline.figures.values() if value is not None]
    if not all(math.isfinite(value) and value >= 0 for value in numbers):
        raise ArtifactError(f"{where} has a figure that is none", _MEND)
    if len(baseline.load_ms) != len(baseline.peak_memory_mib):
        raise ArtifactError(f"{where}: load_ms and peak_memory_mib are not of the same processes", _MEND)
    if baseline.packed_answers is not None:
        answers = unpack(baseline.packed_answers, f"{where}: packed_answers")
        _check_answers(answers, len(baseline.labels), where)
    found = figures_of(calls, {"total": workload}, baseline.evaluation(), baseline.started(), baseline.power_w)
    _check_figures(baseline.figures, found, where)


def _check_answers(answers: NDArray[np.int64], classes: int, where: str) -> None:
    mosts = (None, classes - 1, classes - 1, SCORE, len(ROLES) - 1)
    if answers.ndim != 2 or len(answers) != ROWS:
        raise ArtifactError(f"{where}: the answers have another form than the format says", _MEND)
    for row, most in zip(answers, mosts, strict=True):
        if most is not None and (row.min() < 0 or row.max() > most):
            raise ArtifactError(f"{where} has an answer whose class, score or role is none", _MEND)


def _check_figures(written: Mapping[str, float | None], found: Mapping[str, float | None], where: str) -> None:
    # What only one of the two knows is a metric of another version's, or of somebody's own.
    for name in found.keys() & written.keys():
        said, value = written[name], found[name]
        if said is None and value is None:
            continue
        if said is None or value is None or abs(said - value) > _EDITED * max(abs(value), 1e-6):
            given = "none" if value is None else f"{value:.6g}"
            raise ArtifactError(f"{where}: {name} is {said}, its raw values give {given}: edited by hand?", _MEND)


def _short(value: float | None) -> float | int | None:
    return int(value) if value is not None and value.is_integer() else value


def _refuse(constant: str) -> float:
    raise ValueError(f"{constant} is no number")


def _listed(names: list[str]) -> str:
    shown = ", ".join(f"'{name}'" for name in names[:_LISTED])
    return shown if len(names) <= _LISTED else f"{shown} and {len(names) - _LISTED} more"


def _plain(name: str) -> str:
    # A name that can be a file's as it stands; any other gets digits of its hash, so that no two become one.
    if re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]*", name) and "--" not in name and len(name) <= _LONGEST_NAME:
        return name
    return f"{_slug(name)}-{_short_hash(name)}"


def _slug(text: str) -> str:
    ascii_only = unicodedata.normalize("NFKD", text).encode("ascii", "ignore").decode()
    return re.sub(r"[^a-z0-9]+", "-", ascii_only.lower()).strip("-")[:_LONGEST_NAME].strip("-") or "unnamed"


def _short_hash(text: str) -> str:
    return sha256_of_bytes(text.encode("utf-8", "surrogatepass"))[:6]
