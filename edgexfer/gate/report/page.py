"""Report: a checkpoint or a bundle in, one self-contained HTML page out (no script, nothing from the network).

Everything on the page comes from the artifact's own files, which are checked against its manifest first. What is in
them (labels, file names) is foreign text: the template escapes all of it.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgexfer.core.bundle import open_bundle
from edgexfer.core.errors import ArtifactError, EdgexferError, MissingPartError
from edgexfer.core.files import write_file
from edgexfer.core.manifest import MANIFEST, read_manifest
from edgexfer.gate import accuracy
from edgexfer.gate.measure.evaluation import Evaluation
from edgexfer.gate.measure.measured import Measured, read_measured
from edgexfer.gate.report.chart import HEIGHT, LEFT, WIDTH
from edgexfer.gate.report.history import history_charts
from edgexfer.gate.report.side_by_side import compared

TEMPLATE = Path(__file__).with_name("page.html.j2")
MOST_CLASSES = 60  # a larger confusion matrix is no longer readable: its worst pairs are listed instead
MOST_MISTAKES = 20
MOST_ITEMS = 8
_TOO_LONG = ("quantization.nncf",)  # NNCF's own configuration: hundreds of lines for its loader alone
_SHOWN_ELSEWHERE = ("digest", "files", "format_version", "kind", "labels", "metrics", "name")


def report(folder: str | Path, out: str | Path) -> Path:
    """Writes the report on a checkpoint or a bundle and returns where it lies.

    Args:
        folder: the artifact.
        out: the HTML file; one that is there already is replaced.

    Raises:
        ArtifactError: `folder` is neither, or is damaged.
        MissingPartError: Jinja2 is not installed.
        EdgexferError: `out` is a folder or cannot be written.
    """
    source, page = Path(folder), Path(out)
    if page.is_dir():
        raise EdgexferError(f"{page} is a folder, expected a file", "name an HTML file with --out")
    content = _bundle(source) if _kind(source) == "bundle" else _checkpoint(source)
    write_file(page, _render(content))
    return page


def _kind(folder: Path) -> str | None:
    try:
        manifest = json.loads((folder / MANIFEST).read_bytes())
    except (OSError, ValueError, RecursionError):
        return None
    return manifest.get("kind") if isinstance(manifest, dict) else None


def _checkpoint(folder: Path) -> dict[str, Any]:
    manifest = read_manifest(folder, "checkpoint")
    labels = tuple(map(str, manifest.get("labels", ())))
    figures = manifest.get("metrics") or {}
    split, judged = next(((name, figures[name]) for name in ("test", "val") if figures.get(name)), ("", figures))
    matrix = _recorded_confusion(judged, len(labels))
    return {
        **_identity(folder, manifest, "Checkpoint"),
        "figures": _figures(figures),
        "charts": history_charts(folder / "history.csv"),
        "classes": None if matrix is None else _classes(labels, matrix, f"Images of the split {split}".strip()),
    }


def _bundle(folder: Path) -> dict[str, Any]:
    bundle = open_bundle(folder)
    measured = read_measured(folder)
    shipped = next((record for record in measured if record.shipped), None)
    warnings = _warnings(measured)
    if bundle.manifest.get("simulated"):
        warnings.insert(0, f"Accuracy was simulated with another engine than '{bundle.target.backend}'.")
    content = {
        **_identity(folder, bundle.manifest, "Bundle"),
        "subtitle": f"{bundle.precision} for {bundle.target.title}",
        "warnings": warnings,
        "comparison": compared(measured),
        "notes": bundle.target.notes,
    }
    if shipped is None:
        return content
    judged = shipped.evaluation
    images = ", ".join(f"{count} {role}" for role, count in judged.roles().items())
    return {
        **content,
        "classes": _classes(judged.labels, judged.confusion, f"{shipped.precision}, images: {images}"),
        "confused": judged.confused(10),
        "mistakes": _mistakes(judged),
    }


def _identity(folder: Path, manifest: dict[str, Any], kind: str) -> dict[str, Any]:
    rest = {key: value for key, value in manifest.items() if key not in _SHOWN_ELSEWHERE}
    return {
        "kind": kind,
        "name": str(manifest.get("name", folder.resolve().name)),
        "digest": manifest["digest"],
        "labels": manifest.get("labels", ()),
        "provenance": _flat(rest),
        "files": [(name, entry["size_bytes"], entry["sha256"]) for name, entry in manifest["files"].items()],
    }


def _warnings(measured: tuple[Measured, ...]) -> list[str]:
    found = [warning for record in measured for warning in record.evaluation.warnings]
    found += [warning for record in measured if record.latency for warning in record.latency.warnings]
    return list(dict.fromkeys(found))


def _classes(labels: tuple[str, ...], matrix: NDArray[np.int64], images: str) -> dict[str, Any]:
    totals = matrix.sum(axis=1)
    rows = zip(labels, totals.tolist(), accuracy.recall(matrix), accuracy.precision(matrix), strict=True)
    shares = matrix / np.maximum(totals, 1)[:, None]
    return {
        "images": images,
        "rows": sorted(rows, key=lambda row: (np.isnan(row[2]), row[2])),
        "labels": labels,
        "matrix": list(zip(labels, matrix.tolist(), shares.tolist(), strict=True))
        if len(labels) <= MOST_CLASSES
        else None,
    }


def _mistakes(evaluation: Evaluation) -> list[dict[str, Any]]:
    wrong = [image for image in evaluation.images if image.label != image.predicted]
    worst = sorted(wrong, key=lambda image: -image.score)[:MOST_MISTAKES]
    return [{"path": i.path, "label": i.label, "predicted": i.predicted, "score": i.score} for i in worst]


def _figures(measured: dict[str, Any]) -> list[tuple[str, float]]:
    # By split one level down; what goes by class is deeper, and has a table of its own.
    groups = {"": measured, **{f"{key} ": value for key, value in measured.items() if isinstance(value, dict)}}
    return [
        (f"{group}{key}", value)
        for group, figures in groups.items()
        for key, value in figures.items()
        if isinstance(value, (int, float))
    ]


def _recorded_confusion(figures: dict[str, Any], classes: int) -> NDArray[np.int64] | None:
    if "confusion" not in figures:
        return None
    try:
        matrix = np.array(figures["confusion"], np.int64)
    except (TypeError, ValueError) as error:
        raise ArtifactError(f"the checkpoint's confusion matrix is not one: {error}", "fine-tune again") from error
    if matrix.shape != (classes, classes):
        raise ArtifactError(f"the confusion matrix is {matrix.shape}, expected {(classes, classes)}", "fine-tune again")
    return matrix


def _flat(value: Any, name: str = "") -> list[tuple[str, Any]]:
    if isinstance(value, dict):
        named = ((f"{name}.{key}" if name else str(key), item) for key, item in value.items())
        pairs = (_flat(item, key) for key, item in named if key not in _TOO_LONG)
        return [pair for group in pairs for pair in group]
    if isinstance(value, list):
        shown = [str(item) for item in value[:MOST_ITEMS] if not isinstance(item, (dict, list))]
        more = [f"{len(value) - len(shown)} more"] if len(value) > len(shown) else []
        return [(name, ", ".join(shown + more))] if value else []
    return [] if value is None or value == "" else [(name, value)]


def _render(content: dict[str, Any]) -> str:
    try:
        import jinja2
    except ModuleNotFoundError as error:
        raise MissingPartError("the report needs Jinja2, which is not installed", "pip install jinja2") from error
    environment = jinja2.Environment(autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True)
    environment.filters |= {"percent": _percent, "size": _size, "figure": _figure}
    defaults: dict[str, Any] = {
        "subtitle": "", "warnings": [], "comparison": None, "notes": (), "figures": [], "charts": [], "classes": None,
        "confused": [], "mistakes": [],
    }  # fmt: skip
    template = environment.from_string(TEMPLATE.read_text(encoding="utf-8"))
    return template.render(page={**defaults, **content}, width=WIDTH, height=HEIGHT, left=LEFT)


def _percent(share: float) -> str:
    return "–" if np.isnan(share) else f"{100 * share:.1f} %"


def _size(size_bytes: int) -> str:
    return f"{size_bytes / 1e6:.2f} MB" if size_bytes >= 100_000 else f"{size_bytes / 1e3:.1f} kB"


def _figure(value: Any) -> str:
    return f"{value:.5g}" if isinstance(value, float) else str(value)
