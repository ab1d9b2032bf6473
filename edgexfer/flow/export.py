"""export: RUN -> Bundle in one go: compress, hold the accuracy, lower, measure side by side, choose, and say why.

Precision is earned: every candidate is written, judged on the same held-out images and timed in turns in one process,
here where the target's engine is here, on the devices themselves where some are named. What the target asks for is
shipped; "auto" ships the fastest that loses no more top-1 than allowed.
"""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from edgexfer.backends import builder_of, find_backend, missing_here
from edgexfer.core.bundle import Bundle
from edgexfer.core.control import CONTROL
from edgexfer.core.errors import ArtifactError, SettingsError, did_you_mean
from edgexfer.core.held import held_place
from edgexfer.core.staging import refuse_existing, scratch_folder
from edgexfer.core.target import Precision, Target, load_calibration
from edgexfer.core.threads import Progress
from edgexfer.core.unknown import KNOWN_SHARE, check_known_share
from edgexfer.flow.build import build
from edgexfer.flow.choose import Choice, choose, judge
from edgexfer.flow.hold import misses_limit
from edgexfer.flow.on import OnDevice, build_on, deliver
from edgexfer.flow.prune import PATIENCE_S, prune, pruning_doubts
from edgexfer.flow.ship import kept_candidates, write_shipped
from edgexfer.flow.sparsify import sparsify, sparsity_doubts, sparsity_gain, target_for
from edgexfer.flow.track import track_export
from edgexfer.flow.unknown import find_thresholds
from edgexfer.gate.measure.measured import Measured
from edgexfer.train.checkpoint import Checkpoint, open_checkpoint
from edgexfer.train.export import export as write_bundle
from edgexfer.train.loop.trackers import Tracking
from edgexfer.train.prune.goal import Goal
from edgexfer.train.quantize.accuracy_control import controlled, hold_accuracy
from edgexfer.train.quantize.qat import compress
from edgexfer.train.sparse.asked import Sparsity

log = logging.getLogger(__name__)

BENCH_SECONDS = 6.0
_FLOATS = ("float32", "float16")
_PRECISIONS = {"ort": ("auto", "int8", "float32"), "tensorrt": ("auto", "int8", "int8-depthwise-float16", *_FLOATS)}


@dataclass(frozen=True)
class Exported:
    """What `export` made and why.

    Attributes:
        bundle: what is shipped.
        measured: every candidate that was tried, the most precise first; those of the first device where some were
            named.
        decision: one sentence.
        warnings: what a user must know before shipping, in sentences.
        devices: what came back from each device that was named.
    """

    bundle: Bundle
    measured: tuple[Measured, ...]
    decision: str
    warnings: tuple[str, ...] = ()
    devices: tuple[OnDevice, ...] = ()


def export(
    run: str | Path,
    target: Target,
    out: Path,
    *,
    precision: Precision | None = None,
    data: str | Path | None = None,
    epochs: int | None = None,
    device: str = "auto",
    on: Sequence[str] = (),
    known_share: float = KNOWN_SHARE,
    accuracy_control: bool = True,
    resume: bool = False,
    overwrite: bool = False,
    goal: Goal | None = None,
    prune_epochs: int | None = None,
    sparsity: Sparsity | None = None,
    sparsity_epochs: int | None = None,
    progress: Progress | None = None,
    tracked: Tracking | None = None,
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
        on: hosts, as `ssh` takes them, that build and measure the candidates; what the first finds best is shipped.
        known_share: of images like the validation images that shall not be called unknown, 0.5 to 1.
        accuracy_control: where INT8 loses more than the target allows, leave as few layers in float as hold it; see
            edgexfer/train/quantize/accuracy_control.py. Of no effect on a RUN that is quantized already.
        resume: go on with a pruning, or one to zeros, that was interrupted; what never began begins.
        overwrite: replace an older `out`; without `resume` also drop what was interrupted on the way.
        goal: what the network shall shrink to first (flow/prune.py); the pruned checkpoint lies beside `run`, and one
            that is there already is taken. None leaves the network as it is.
        prune_epochs: of learning again at each point on the way there; None lets the number of images decide.
        sparsity: which weights shall be zero (flow/sparsify.py), after `goal`; the sparse checkpoint lies beside too.
        sparsity_epochs: as `prune_epochs`, on the way to `sparsity`.
        progress: called with (done, all) while images are read.
        tracked: where the bundle is logged, in the run that fine-tuning began where it has one; whoever opened it ends
            it. None for nowhere, also where the checkpoint is tracked: its tracker may be another machine, and a bundle
            is sent there only by those who ask for it.

    Raises:
        BusyError: another process is at work on `out`, or for hours on the quantized checkpoint.
        EdgexferError: see `compress`, `train.export.export`, `evaluate` and `flow.on.build_on`.
    """
    refuse_existing(out, overwrite=overwrite)
    check_known_share(known_share)
    checkpoint = open_checkpoint(run)
    target = dataclasses.replace(target, precision=_asked(checkpoint, target, precision))
    # Begun before the training, so that a place that cannot be written to is told now and not minutes later.
    with ExitStack() as quantizing, held_place(out), scratch_folder(out) as folder:
        tracking = Tracking() if tracked is None else tracked
        tracking.begin(str(checkpoint.manifest["name"]), checkpoint.manifest.get("trackers", ()))
        learning: dict[str, Any] = {"data": data, "device": device, "resume": resume, "overwrite": overwrite}
        learning |= {"progress": progress, "tracked": tracking}
        if goal is not None:
            checkpoint = prune(run, None, target, goal, epochs=prune_epochs, **learning)
        if sparsity is not None:
            checkpoint = sparsify(checkpoint.folder, None, sparsity, epochs=sparsity_epochs, **learning)
        target = target_for(checkpoint, target)
        main, beside = checkpoint, None
        if checkpoint.quantization is None and target.precision not in _FLOATS:
            # An export for another target may be making, or replacing, the same quantized checkpoint.
            quantizing.enter_context(held_place(_sibling(checkpoint, target), wait_s=PATIENCE_S))
            main, beside = (
                _quantized(checkpoint, target, data, epochs, device, accuracy_control, progress, tracking),
                checkpoint,
            )
        bundle = write_bundle(main, target, folder / out.name, beside=beside, data=data)
        where = data or checkpoint.manifest["val"] or checkpoint.manifest["data"]
        controls = accuracy_control and target.precision in ("auto", "int8")
        if beside is not None and controls and misses_limit(main, bundle, where):
            main = hold_accuracy(main, beside, target, data=data, progress=progress)
            bundle = write_bundle(main, target, folder / out.name, beside=beside, data=data, overwrite=True)
        quantizing.close()
        partial = bool(checkpoint.earlier_rows())  # what it went on with may show few of its classes
        log.info("measuring %s on held-out images", " and ".join(reversed(bundle.candidates)))
        if on:
            made = _measured_on(on, bundle, checkpoint, where, out, known_share, overwrite, partial=partial)
        else:
            made = _measured_here(bundle, checkpoint, where, out, known_share, overwrite, partial=partial)
    if not checkpoint.backbone.int8_fuses and len(made.measured) > 1:
        doubt = f"{checkpoint.backbone.name} takes INT8 badly ({checkpoint.backbone.int8})"
        made = dataclasses.replace(made, warnings=(*made.warnings, doubt))
    if doubts := pruning_doubts(checkpoint, target) + sparsity_doubts(checkpoint, target):
        made = dataclasses.replace(made, warnings=(*made.warnings, *doubts))
    track_export(tracking, made)
    return made


def _asked(checkpoint: Checkpoint, target: Target, precision: Precision | None) -> Precision:
    wanted = precision or target.precision
    if checkpoint.quantization is not None and wanted in _FLOATS:
        raise SettingsError(f"{checkpoint.folder} is quantized, and {wanted} is asked for", "give the float RUN")
    known = _PRECISIONS[target.dialect]
    if wanted not in known:
        raise SettingsError(f"{target.name} cannot run {wanted}", did_you_mean(wanted, known))
    return wanted


def _quantized(
    checkpoint: Checkpoint,
    target: Target,
    data: str | Path | None,
    epochs: int | None,
    device: str,
    accuracy_control: bool,
    progress: Progress | None,
    tracked: Tracking,
) -> Checkpoint:
    """Returns the quantized sibling of a float checkpoint: the one that is there where it fits, else a new one."""
    where = _sibling(checkpoint, target)
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
            ) and (CONTROL not in there.manifest["files"] or (accuracy_control and controlled(there, target))):
                log.info("taking the quantized checkpoint %s, which was made from this run before", where)
                return there
    return compress(
        checkpoint,
        target,
        where,
        data=data,
        epochs=epochs,
        device=device,
        overwrite=True,
        progress=progress,
        tracked=tracked,
    )


def _sibling(checkpoint: Checkpoint, target: Target) -> Path:
    return checkpoint.folder.with_name(f"{checkpoint.folder.name}.int8-{target.dialect}")


def _measured_here(
    bundle: Bundle,
    checkpoint: Checkpoint,
    where: str | Path,
    out: Path,
    known_share: float,
    overwrite: bool,
    *,
    partial: bool,
) -> Exported:
    target = bundle.target
    missing = missing_here(target.backend)
    if missing is None and builder_of(find_backend(target.backend)) is not None:
        built = build(bundle.folder, data=where, partial=partial, seconds=BENCH_SECONDS)
        choice = Choice(built.bundle.precision, built.measured, built.decision, built.warnings)
    else:
        backend = target.backend if missing is None else "ort"
        evaluations = judge(bundle, where, backend=backend, partial=partial)
        choice = choose(
            bundle,
            evaluations,
            wanted=target.precision,
            backend=backend,
            seconds=BENCH_SECONDS,
            timed=missing is None and len(evaluations) > 1,
        )
        warnings = next(iter(evaluations.values())).warnings
        if missing is not None:
            warnings = (
                f"{missing}: accuracy is simulated with ONNX Runtime on the CPU, latency is not measured",
                *warnings,
            )
        choice = dataclasses.replace(choice, warnings=(*warnings, *choice.warnings))
    simulated = missing is not None
    shipped, doubts = _shipped(bundle, checkpoint, choice, where, out, known_share, overwrite, simulated=simulated)
    return Exported(shipped, choice.measured, choice.decision, (*choice.warnings, *doubts))


def _measured_on(
    hosts: Sequence[str],
    bundle: Bundle,
    checkpoint: Checkpoint,
    where: str | Path,
    out: Path,
    known_share: float,
    overwrite: bool,
    *,
    partial: bool,
) -> Exported:
    simulated = judge(bundle, where, backend="ort", partial=partial)
    devices = build_on(hosts, bundle, where, next(iter(simulated.values())).images)
    choice = next(device.choice for device in devices if device.choice is not None)
    shipped, doubts = _shipped(bundle, checkpoint, choice, where, out, known_share, overwrite, simulated=False)
    devices = deliver(devices, shipped)
    return Exported(shipped, choice.measured, choice.decision, (*choice.warnings, *doubts), tuple(devices))


def _shipped(
    bundle: Bundle,
    checkpoint: Checkpoint,
    choice: Choice,
    where: str | Path,
    out: Path,
    known_share: float,
    overwrite: bool,
    *,
    simulated: bool,
) -> tuple[Bundle, tuple[str, ...]]:
    """Writes what goes out, with its threshold for unknown images; returns it and what to say of the threshold."""
    tried = {record.precision for record in choice.measured}  # an engine may have refused the others
    names = [name for name in kept_candidates(bundle, choice.precision) if name in tried]
    backend = bundle.target.backend if missing_here(bundle.target.backend) is None else "ort"
    unknown, doubts = find_thresholds(
        bundle, where, names=names, backend=backend, share=known_share, measured=choice.measured
    )
    gain = sparsity_gain(checkpoint, bundle.at(choice.precision))
    made = write_shipped(bundle, choice, out, simulated=simulated, overwrite=overwrite, unknown=unknown, gain=gain)
    return made, doubts
