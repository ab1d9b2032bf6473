"""sparsify: RUN -> a sparse RUN beside it; and what its zeros gain in the bundle that ships, measured side by side.

Zeros help a file only where it is compressed on its way (over the air, in a container's layer), and an engine only
where it skips them. Both are measured against the dense network's file in the same precision.
"""

from __future__ import annotations

import dataclasses
import logging
import zlib
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from edgexfer.backends import find_backend, missing_here, why_no_layer_timer
from edgexfer.core.bundle import Bundle
from edgexfer.core.errors import EdgexferError
from edgexfer.core.held import held_place
from edgexfer.core.target import Target
from edgexfer.flow.prune import PATIENCE_S, doubts_of, made_before
from edgexfer.flow.race import race
from edgexfer.gate.judge.compare import compare
from edgexfer.train.checkpoint import Checkpoint, open_checkpoint
from edgexfer.train.loop.trackers import Tracking
from edgexfer.train.prune.stand_ins import Timed
from edgexfer.train.prune.way import check_way, drop_way, is_begun
from edgexfer.train.sparse.asked import TWO_FOUR, Sparsity, dense_place, sparse_place
from edgexfer.train.sparse.sparsify import asked_for
from edgexfer.train.sparse.sparsify import sparsify as sparsify_checkpoint

log = logging.getLogger(__name__)

_SPARSE_CORES = (8, 0)  # the first compute capability whose tensor cores skip zeros


def sparsify(
    run: str | Path,
    out: Path | None,
    sparsity: Sparsity,
    *,
    data: str | Path | None = None,
    epochs: int | None = None,
    device: str = "auto",
    resume: bool = False,
    overwrite: bool = False,
    progress: Callable[[int, int], None] | None = None,
    tracked: Tracking | None = None,
) -> Checkpoint:
    """Sets weights of a network to zero, and lets the others learn again.

    Args:
        run: a float checkpoint's folder.
        out: the sparse checkpoint's folder; None for `sparse_place`, where one that was made before is taken.
        sparsity: how many weights, and which.
        data: the images, where they are no longer where the checkpoint was trained.
        epochs: of training at each point on the way; None lets the number of images decide.
        device: where to train: "auto", "cpu" or "cuda".
        resume: go on with what an interrupted call for the same left; where `out` is None and there is none, begin.
        overwrite: replace an older `out`; without `resume` also drop what was interrupted.
        progress: called with (done, all) while images are read.
        tracked: where settings and epochs are logged too; whoever opened it ends it.

    Raises:
        EdgexferError: see edgexfer/train/sparse/sparsify.py.
    """
    checkpoint = open_checkpoint(run)
    place = sparse_place(checkpoint.folder, sparsity) if out is None else out
    # Two exports of one run want the same sparse checkpoint: the second takes what the first has made.
    with held_place(place, wait_s=PATIENCE_S if out is None else 0.0):
        asked = asked_for(checkpoint, sparsity, epochs)
        if (out is None or resume) and (there := made_before(place, "sparsity", asked)) is not None:
            log.info("taking the sparse checkpoint %s, which was made from this run before", place)
            drop_way(place)  # killed between the two, it would lie there for ever
            return there
        resume = resume and (out is not None or is_begun(place))
        check_way(place, asked, resume=resume, overwrite=overwrite)
        return sparsify_checkpoint(
            checkpoint,
            sparsity,
            place,
            data=data,
            epochs=epochs,
            device=device,
            resume=resume,
            overwrite=overwrite or out is None,
            progress=progress,
            tracked=tracked,
        )


def target_for(checkpoint: Checkpoint, target: Target) -> Target:
    """Returns the target, told to look for kernels that skip zeros where the checkpoint is 2:4 and it may have them."""
    record = checkpoint.manifest.get("sparsity")
    if record is None or record["asked"] != TWO_FOUR or target.backend != "tensorrt" or not _has_sparse_cores(target):
        return target
    return dataclasses.replace(target, options={**target.options, "sparse_weights": True})


def _has_sparse_cores(target: Target) -> bool:
    known = str(target.host.get("compute_capability", ""))
    return not known or tuple(int(part) for part in known.split(".")) >= _SPARSE_CORES


def sparsity_gain(checkpoint: Checkpoint, bundle: Bundle) -> dict[str, Any] | None:
    """Measures what the zeros of a bundle gain; see `gain` in edgexfer/core/bundle.py.

    Args:
        checkpoint: what the bundle was made from, float or quantized.
        bundle: with the candidate chosen that ships.

    Returns:
        The record; None where the checkpoint is not sparse.
    """
    record = checkpoint.manifest.get("sparsity")
    if record is None:
        return None
    from edgexfer.train.dialects.lint_sparsity import eligible_macs  # noqa: PLC0415 - onnx

    found: dict[str, Any] = {
        "precision": bundle.precision,
        **_sizes(bundle.model),
        "eligible": eligible_macs(bundle.read()),
        "dense": None,
        "latency": None,
        "engine": None,
        "reason": "",
    }
    place = dense_place(checkpoint.folder)
    try:
        dense = open_checkpoint(place)
    except EdgexferError:
        dense = None
    if dense is None or dense.digest != record["parent"]:
        return {**found, "reason": f"the dense network is not at {place.name} any more"}
    from edgexfer.train.sparse.dense import write_dense  # noqa: PLC0415 - onnx

    with TemporaryDirectory() as folder:
        sibling = write_dense(Path(folder) / "dense.edgx", dense, bundle)
        found["dense"] = _sizes(sibling.model)
        found["reason"] = missing_here(bundle.target.backend) or ""
        if not found["reason"]:
            log.info("timing the sparse and the dense network in turns")
            found["engine"] = find_backend(bundle.target.backend).engine_version()
            found["latency"] = dataclasses.asdict(_timed(bundle, sibling))
    return found


def sparsity_doubts(checkpoint: Checkpoint, target: Target) -> tuple[str, ...]:
    """Returns what a user must know before shipping a sparse network, in sentences."""
    record = checkpoint.manifest.get("sparsity")
    if record is None:
        return ()
    return doubts_of(record["points"], target, f"sparsity {record['asked']}", "--sparsity ... --sparsity-epochs N")


def _timed(bundle: Bundle, sibling: Bundle) -> Timed:
    if not why_no_layer_timer(bundle.target):
        backend = bundle.target.backend
        return race(bundle, sibling, backend=backend, against_backend=backend)
    # On a GPU the process's CPU time says nothing: what a user waits for does.
    clock = compare(bundle, sibling)
    ours, theirs = (side.percentile(clock.step, 50) / 1e6 for side in (clock.bundle, clock.against))
    return Timed(clock.ratio, clock.low, clock.high, ours, theirs)


def _sizes(model: Path) -> dict[str, int]:
    content = model.read_bytes()
    return {"size_bytes": len(content), "packed_bytes": len(zlib.compress(content, 9))}
