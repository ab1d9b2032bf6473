"""export: RUN -> Bundle in one go: compress, lower, measure side by side, choose, and say why.

Precision is earned: float and INT8 are both written, judged on the same held-out images and timed in turns in one
process. What the target asks for is shipped; "auto" ships the fastest that loses no more top-1 than allowed.
"""

from __future__ import annotations

import dataclasses
import logging
import platform
import shutil
import tempfile
from dataclasses import dataclass, field
from pathlib import Path

from edgexfer.backends import find_backend
from edgexfer.core.bundle import Bundle, open_bundle
from edgexfer.core.errors import ArtifactError, SettingsError
from edgexfer.core.files import explained_write, refuse_existing, staged_folder
from edgexfer.core.manifest import MANIFEST, write_manifest
from edgexfer.core.target import Precision, Target, load_calibration
from edgexfer.core.threads import Progress
from edgexfer.gate.compare import Comparison, compare
from edgexfer.gate.evaluate import evaluate
from edgexfer.gate.latency import Latency
from edgexfer.gate.measured import Measured, write_measured
from edgexfer.train.checkpoint import Checkpoint, open_checkpoint
from edgexfer.train.export import export as write_bundle
from edgexfer.train.qat import compress

log = logging.getLogger(__name__)

BENCH_SECONDS = 6.0


@dataclass(frozen=True)
class Exported:
    """What `export` made and why.

    Attributes:
        bundle: what is shipped.
        measured: every precision that was tried, float first.
        comparison: latency of INT8 against float on this machine; None where it was not measured.
        decision: one sentence.
        warnings: what a user must know before shipping, in sentences.
    """

    bundle: Bundle
    measured: tuple[Measured, ...]
    comparison: Comparison | None
    decision: str
    warnings: tuple[str, ...] = field(default=())


def export(
    run: str | Path,
    target: Target,
    out: Path,
    *,
    precision: Precision | None = None,
    data: str | Path | None = None,
    epochs: int | None = None,
    device: str = "auto",
    overwrite: bool = False,
    progress: Progress | None = None,
) -> Exported:
    """Makes the bundle that a target runs best.

    Args:
        run: a checkpoint's folder, float (it is quantized here) or quantized already.
        target: the device profile.
        out: the bundle's folder, by custom `NAME.edgx`.
        precision: overrides the target's own.
        data: the images, where they are no longer where the checkpoint was trained.
        epochs: of quantization-aware training; None lets the number of images decide.
        device: where to train: "auto", "cpu" or "cuda".
        overwrite: replace an older `out`.
        progress: called with (done, all) while images are read.

    Raises:
        EdgexferError: see `compress`, `train.export.export` and `evaluate`.
    """
    refuse_existing(out, overwrite=overwrite)
    checkpoint = open_checkpoint(run)
    wanted = precision or target.precision
    if checkpoint.quantization is not None and wanted == "float32":
        raise SettingsError(f"{run} is quantized, and float32 is asked for", "give the float RUN")
    candidates = [checkpoint]
    with explained_write(out):
        out.parent.mkdir(parents=True, exist_ok=True)
        # Begun before the training, so that a place that cannot be written to is told now and not minutes later.
        with tempfile.TemporaryDirectory(prefix=f".{out.name}.", dir=out.parent) as folder:
            if checkpoint.quantization is None and wanted != "float32":
                candidates.append(_quantized(checkpoint, target, data, epochs, device, progress))
            bundles = [
                write_bundle(c, target, Path(folder) / f"{c.manifest['precision']}.edgx", data=data) for c in candidates
            ]
            return _chosen(bundles, checkpoint, wanted, out, data, overwrite=overwrite)


def _quantized(
    checkpoint: Checkpoint,
    target: Target,
    data: str | Path | None,
    epochs: int | None,
    device: str,
    progress: Progress | None,
) -> Checkpoint:
    """Returns the quantized sibling of a float checkpoint: the one that is there where it fits, else a new one."""
    where = checkpoint.folder.with_name(f"{checkpoint.folder.name}.int8-{target.dialect}")
    if where.exists() and epochs is None:
        try:
            there = open_checkpoint(where)
        except ArtifactError:
            log.warning("%s is damaged and is made again", where)
        else:
            learned = there.quantization or {}
            recipe = dataclasses.asdict(load_calibration(target.calibration))
            asked = (checkpoint.digest, target.dialect, target.weight_bits, recipe)
            if asked == (
                there.manifest["parent"],
                learned.get("dialect"),
                learned.get("weight_bits"),
                learned.get("recipe"),
            ):
                log.info("taking the quantized checkpoint %s, which was made from this run before", where)
                return there
    return compress(
        checkpoint, target, where, data=data, epochs=epochs, device=device, overwrite=True, progress=progress
    )


def _chosen(
    bundles: list[Bundle],
    checkpoint: Checkpoint,
    wanted: Precision,
    out: Path,
    data: str | Path | None,
    *,
    overwrite: bool,
) -> Exported:
    target = bundles[0].target
    backend, warnings = _backend_here(target)
    where = data or checkpoint.manifest["val"] or checkpoint.manifest["data"]
    log.info("measuring %s on held-out images", " and ".join(bundle.precision for bundle in bundles))
    evaluations = [evaluate(bundle, where, backend=backend) for bundle in bundles]
    warnings += list(evaluations[0].warnings)
    comparison = None
    if backend == target.backend and len(bundles) == 2:
        comparison = compare(bundles[1], bundles[0], seconds=BENCH_SECONDS, threads=1)
    records = [
        Measured(bundle.precision, evaluation, latency, bundle.model.stat().st_size, shipped=False)
        for bundle, evaluation, latency in zip(bundles, evaluations, _latencies(comparison, len(bundles)), strict=True)
    ]
    index, decision, doubts = _decide(records, comparison, target, wanted)
    records[index] = dataclasses.replace(records[index], shipped=True)
    if not checkpoint.backbone.int8_fuses and len(bundles) == 2:
        doubts = (*doubts, f"{checkpoint.backbone.name} takes INT8 badly ({checkpoint.backbone.int8})")
    _write(bundles[index], records, out, simulated=backend != target.backend, overwrite=overwrite)
    return Exported(open_bundle(out), tuple(records), comparison, decision, (*warnings, *doubts))


def _backend_here(target: Target) -> tuple[str, list[str]]:
    try:
        missing = find_backend(target.backend).missing()
    except SettingsError:
        missing = f"{target.backend} is not on this machine"
    if missing is None:
        return target.backend, []
    note = f"{missing}: accuracy is simulated with ONNX Runtime on the CPU, latency is not measured"
    return "ort", [note]


def _latencies(comparison: Comparison | None, count: int) -> list[Latency | None]:
    return [None] * count if comparison is None else [comparison.against, comparison.bundle]


def _decide(
    records: list[Measured], comparison: Comparison | None, target: Target, wanted: Precision
) -> tuple[int, str, tuple[str, ...]]:
    """Returns which record ships, why, and what to warn of."""
    if len(records) == 1:
        return 0, f"{records[0].precision} ships: nothing else was asked for", ()
    float_top1, int8_top1 = (record.evaluation.top1 for record in records)
    drop = float_top1 - int8_top1
    holds = drop <= target.max_drop + 1e-9
    accuracy = "INT8 has the same top-1 as float"
    if abs(drop) > 1e-9:
        accuracy = f"INT8 {'loses' if drop > 0 else 'gains'} {abs(drop) * 100:.2f} points of top-1"
    limit = f"the limit is {target.max_drop * 100:.2f}"
    here = comparison is not None and target.host.get("machine", platform.machine()) == platform.machine()
    slower = here and comparison is not None and comparison.low > 1
    speed = f" and is {comparison.sentence}" if here and comparison is not None else ""
    if wanted == "int8":
        doubts = () if holds else (f"{accuracy}; {limit}: it ships because precision int8 was asked for",)
        if slower:
            doubts = (*doubts, f"INT8 is slower than float here: {comparison.sentence if comparison else ''}")
        return 1, f"int8 ships, as asked: {accuracy}{speed}", doubts
    if not holds:
        return 0, f"float32 ships: {accuracy}, {limit}", (f"INT8 was not shipped: {accuracy}, {limit}",)
    if slower:
        return 0, f"float32 ships: INT8 holds the accuracy{speed}", ("INT8 was not shipped: it is slower here",)
    return 1, f"int8 ships: {accuracy} ({limit}){speed}", ()


def _write(bundle: Bundle, records: list[Measured], out: Path, *, simulated: bool, overwrite: bool) -> None:
    own = ("kind", "format_version", "digest", "files")
    content = {key: value for key, value in bundle.manifest.items() if key not in own}
    content["simulated"] = simulated
    content["accuracy"] = {
        record.precision: {
            "top1": record.evaluation.top1,
            "macro_f1": record.evaluation.macro_f1,
            "images": len(record.evaluation.images),
            "split": "+".join(sorted(record.evaluation.roles())),
        }
        for record in records
    }
    with staged_folder(out, overwrite=overwrite) as stage:
        for name in bundle.manifest["files"]:
            shutil.copyfile(bundle.folder / name, stage / name)
        write_measured(stage, records)
        (stage / MANIFEST).unlink(missing_ok=True)
        write_manifest(stage, "bundle", content)
