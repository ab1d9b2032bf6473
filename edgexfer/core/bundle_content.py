"""What a bundle's manifest says, key by key: of the right type and within bounds, whoever wrote it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from edgexfer.core.errors import ArtifactError
from edgexfer.core.target import PRECISIONS
from edgexfer.core.target_checks import check_host

_MOST_LABELS = 100_000
_MOST_SIDE_PIXELS = 4096
_AGAIN = "make the bundle again"


def check_content(manifest: dict[str, Any], folder: Path) -> None:
    """Checks the keys that are read when a bundle is opened and run.

    Args:
        manifest: of a bundle.
        folder: named in errors.

    Raises:
        ArtifactError: one is of another type, or out of bounds.
        KeyError: one is missing.
    """
    _check_labels(manifest["labels"], folder)
    if not isinstance(manifest.get("name", ""), str):
        raise _refused(folder, "name", "a text")
    candidates = manifest.get("candidates", {})
    if not isinstance(candidates, dict) or not all(str(name).endswith(".onnx") for name in candidates.values()):
        raise _refused(folder, "candidates", "ONNX files by precision")  # by that ending they were checked
    for precision in (manifest["precision"], *candidates):
        if precision not in PRECISIONS:
            raise _refused(folder, "precision", f"one of {', '.join(PRECISIONS)}")
    _check_preprocess(manifest["preprocess"], folder)
    if not isinstance(target := manifest["target"], dict):
        raise _refused(folder, "target", "a table")
    if isinstance(host := target.get("host", {}), dict):
        check_host(host, f"the target of {folder}")


def _check_labels(labels: Any, folder: Path) -> None:
    if not isinstance(labels, list) or not all(isinstance(label, str) for label in labels):
        raise _refused(folder, "labels", "a list of texts")
    if not 1 <= len(labels) <= _MOST_LABELS:
        raise _refused(folder, "labels", f"a list of 1 to {_MOST_LABELS} texts")


def _check_preprocess(record: Any, folder: Path) -> None:
    if not isinstance(record, dict):
        return  # whoever reads it says so
    if type(record.get("version")) is not int:
        raise _refused(folder, "preprocess.version", "a number")
    for side in ("height", "width"):
        if isinstance(record.get(side), int) and record[side] > _MOST_SIDE_PIXELS:
            raise _refused(folder, f"preprocess.{side}", f"at most {_MOST_SIDE_PIXELS} pixels")


def _refused(folder: Path, key: str, expected: str) -> ArtifactError:
    return ArtifactError(f"{folder}: '{key}' in its manifest is not {expected}", _AGAIN)
