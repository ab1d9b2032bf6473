"""What the page shows of a bundle: everything that `export` measured, and what a gate decided."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from edgexfer.core.bundle import HISTORY, LAYERS, open_bundle
from edgexfer.core.control import read_control
from edgexfer.core.manifest import read_if_listed
from edgexfer.core.target import PRECISIONS
from edgexfer.gate.judge.verdict import GateResult
from edgexfer.gate.measure.measured import Measured, read_measured
from edgexfer.gate.report.classes import MOST_CELLS, class_rows, heat_map, overview, worst_pairs
from edgexfer.gate.report.content import Absent, Classes, Judged, Page, Size
from edgexfer.gate.report.control import control_card
from edgexfer.gate.report.curves import curves, read_history
from edgexfer.gate.report.gallery import Gallery, flipped, flipped_since, with_thumbnails, worst
from edgexfer.gate.report.latency_curves import latency_drawings, latency_table
from edgexfer.gate.report.layers import layer_drawings, layer_table, read_layers
from edgexfer.gate.report.provenance import provenance
from edgexfer.gate.report.pruning import pruning_about, pruning_table
from edgexfer.gate.report.reliability import reliability
from edgexfer.gate.report.side_by_side import compared
from edgexfer.gate.report.slices import slice_card
from edgexfer.gate.report.sparsity import sparsity_gained, sparsity_table
from edgexfer.gate.report.summary import bundle_tiles
from edgexfer.gate.report.verdicts import check_subject, verdict_drawing, verdict_rows

_AGAIN = "edgexfer export RUN --target NAME"


def bundle_page(folder: Path, data: str | Path | None, gate: GateResult | None) -> Page:
    """Gathers the page of a bundle.

    Args:
        folder: the bundle.
        data: where its images are, or None for where they were when they were judged.
        gate: the verdicts on it.

    Raises:
        ArtifactError: the bundle is damaged, or `gate` is about another one.
        DataError: `data` does not exist.
    """
    bundle = open_bundle(folder)
    if gate is not None:
        check_subject(gate, folder, bundle.digest)
    measured = sorted(read_measured(bundle), key=lambda record: PRECISIONS.index(record.precision))
    shipped = next((record for record in measured if record.shipped), None)
    first = next((record for record in measured if not record.shipped), None)
    galleries, looked = with_thumbnails(
        _galleries(first, shipped, gate), data, (record.evaluation.data for record in measured)
    )
    history = read_history(read_if_listed(bundle.folder, bundle.manifest, HISTORY))
    layers = read_layers(read_if_listed(bundle.folder, bundle.manifest, LAYERS), bundle.folder / LAYERS)
    control = read_control(bundle.folder, bundle.manifest)
    timed = [(record.precision, record.latency) for record in measured if record.latency is not None]
    made = bundle.manifest.get("provenance")
    pruned = made.get("pruning") if isinstance(made, dict) else None
    largest = max((record.size_bytes for record in measured), default=0) or 1
    return Page(
        "Bundle",
        str(bundle.manifest.get("name", folder.resolve().name)),
        f"{bundle.precision} for {bundle.target.title}",
        bundle.digest,
        len(bundle.labels),
        provenance(bundle.folder, bundle.manifest),
        tiles=bundle_tiles(first, shipped),
        warnings=_warnings(bundle.manifest, bundle.target.backend, measured, gate),
        notes=bundle.target.notes,
        absent=_absent(measured, timed=bool(timed), history=history is not None, layers=layers is not None, gate=gate),
        judged=None if gate is None else Judged(gate, verdict_rows(gate), verdict_drawing(gate)),
        comparison=compared(measured),
        sizes=[Size(m.precision, m.size_bytes, m.size_bytes / largest, m.shipped) for m in measured],
        classes=None if shipped is None else _classes(shipped),
        slices=() if shipped is None else tuple(map(slice_card, shipped.evaluation.slice_reports())),
        galleries=galleries,
        looked=looked,
        reliability=[drawing for record in measured if (drawing := reliability(record))],
        latency=latency_drawings(timed),
        latency_table=latency_table(timed) if timed else None,
        machine=next((_machine(latency.host, latency.threads) for _, latency in timed), ""),
        layers=layer_drawings(layers) if layers else [],
        layer_table=layer_table(layers, control.sensitivity if control else {}) if layers else None,
        control=control_card(control) if control else None,
        layer_images=layers.images if layers else 0,
        pruning=pruning_table(pruned),
        pruning_about=pruning_about(pruned),
        sparsity=sparsity_table(bundle.manifest.get("sparsity")),
        sparsity_gained=sparsity_gained(bundle.manifest.get("sparsity"), bundle.target.name),
        curves=curves(history) if history else [],
    )


def _galleries(first: Measured | None, shipped: Measured | None, gate: GateResult | None) -> list[Gallery]:
    found = []
    if gate is not None and gate.flips:
        found.append(flipped_since(gate.flips, gate.baseline))
    if shipped is not None:
        if first is not None:
            names = (first.precision, shipped.precision)
            found.append(flipped(first.evaluation, shipped.evaluation, names))
        found.append(worst(shipped.evaluation, shipped.precision))
    return found


def _classes(shipped: Measured) -> Classes:
    judged = shipped.evaluation
    labels, matrix = judged.labels, judged.confusion
    counts = ", ".join(f"{count} {role}" for role, count in judged.roles().items())
    return Classes(
        f"{shipped.precision}, images: {counts}",
        class_rows(labels, matrix),
        heat_map(labels, matrix),
        worst_pairs(labels, matrix),
        overview(matrix) if len(labels) > MOST_CELLS else None,
    )


def _warnings(manifest: dict[str, Any], backend: str, measured: list[Measured], gate: GateResult | None) -> list[str]:
    found = [f"Accuracy was simulated with another engine than '{backend}'."] if manifest.get("simulated") else []
    found += [] if gate is None else [f"verdicts: {text}" for text in gate.warnings]
    said: dict[str, list[str]] = {}
    for record in measured:
        for text in (*record.evaluation.warnings, *(record.latency.warnings if record.latency else ())):
            said.setdefault(text, []).append(record.precision)
    # Who it is about stands before it only where it is not about all of them.
    found += [text if len(of) == len(measured) else f"{text} ({', '.join(of)})" for text, of in said.items()]
    return list(dict.fromkeys(f"{text[:1].upper()}{text[1:]}" for text in found))


def _absent(
    measured: list[Measured], *, timed: bool, history: bool, layers: bool, gate: GateResult | None
) -> list[Absent]:
    found = []
    if gate is None:
        found.append(
            Absent(
                "Verdicts",
                "the page was made without any",
                "edgexfer gate BUNDLE --json gate.json, then edgexfer report BUNDLE --gate gate.json",
            )
        )
    if not measured:
        found.append(Absent("Accuracy and latency", "this bundle holds no measurements", _AGAIN))
    elif not timed:
        found.append(
            Absent("Latency", "the target's engine was not on the machine that exported", "edgexfer bench BUNDLE")
        )
    if not history:
        found.append(Absent("Training curves", "this bundle holds no history.csv", f"{_AGAIN}, or edgexfer report RUN"))
    if not layers:
        found.append(Absent("Error of each layer", "this bundle holds no layers.json", _AGAIN))
    return found


def _machine(host: dict[str, Any], threads: int | None) -> str:
    names = [str(host[key]) for key in ("board", "cpu", "os", "engine") if host.get(key)]
    return ", ".join(names + ([f"{threads} thread{'s' if threads > 1 else ''}"] if threads else []))
