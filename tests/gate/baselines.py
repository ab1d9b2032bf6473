"""Baselines without a measurement: times that are drawn, answers that are given."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from edgexfer.core.files import sha256_of_bytes
from edgexfer.gate.judge.baseline import Accepted, Baseline
from edgexfer.gate.judge.baseline_record import pack_answers, pack_calls
from edgexfer.gate.judge.packed import pack
from edgexfer.gate.measure.evaluation import Evaluation, ImageResult
from edgexfer.gate.measure.record import Subject
from edgexfer.gate.measure.turns import Blocks
from edgexfer.gate.measure.workload import WORKLOAD

MACHINE = "Board X Rev 2, 4 cores, aarch64"
SUBJECT = Subject("signs", "ab" * 32, "int8", "raspberry-pi-5", "ort", "onnxruntime 1.20", simulated=False)
LABELS = ("go", "stop", "wäit")


def times(ms: float, *, seed: int = 0, blocks: int = 40, noise: float = 0.03, speed: float = 1.0) -> Blocks:
    """Times of a bundle whose call takes `ms` on a machine of this speed: three steps and their sum."""
    rng = np.random.default_rng(seed)
    shape = (blocks, 10)
    parts = {"decode": 0.2, "resize": 0.1, "inference": 0.7}
    steps = {
        step: (ms * 1e6 / speed * part * rng.lognormal(0, noise, shape)).astype(np.int64)
        for step, part in parts.items()
    }
    return {**steps, "total": np.sum(list(steps.values()), axis=0)}


def ticks(*, seed: int = 1, blocks: int = 40, noise: float = 0.03, speed: float = 1.0) -> Blocks:
    """Times of the reference workload, 1 ms a call at speed 1."""
    return {"total": times(1.0, seed=seed, blocks=blocks, noise=noise, speed=speed)["total"]}


def answers(*, images: int = 60, wrong: int = 3) -> Evaluation:
    """Answers to `images` images, the first `wrong` of which are not right."""
    results = tuple(
        ImageResult(
            path=f"{LABELS[i % 3]}/{i}.png",
            sha256=sha256_of_bytes(str(i).encode()),
            role="test",
            label=LABELS[i % 3],
            predicted=LABELS[(i + (i < wrong)) % 3],
            score=0.5 + i / 200,
            score_label=0.5 + i / 200 if i >= wrong else 0.1,
        )
        for i in range(images)
    )
    return Evaluation(SUBJECT, "data/signs", LABELS, results)


def make_baseline(
    calls: Blocks | None = None, workload: Blocks | None = None, evaluation: Evaluation | None = None, **changes: Any
) -> Baseline:
    """A baseline of 5 ms a call; `changes` replaces its attributes."""
    calls, workload = calls or times(5.0), workload or ticks()
    figures: dict[str, float | None] = {
        f"latency_p{q}_ms": round(float(np.percentile(calls["total"], q)) / 1e6, 4) for q in (50, 95, 99)
    }
    if evaluation is not None:
        figures |= {"images": float(len(evaluation.images)), "top1": round(evaluation.top1, 6)}
    figures["power_w"] = None
    made = Baseline(
        subject=SUBJECT,
        machine_class=MACHINE,
        accepted=Accepted("Ada Lovelace", "2025-11-21T08:30:00Z", "the first"),
        figures=figures,
        labels=LABELS,
        threads=1,
        images="16 reference images as JPEG of 640 x 480 pixels",
        data="" if evaluation is None else evaluation.data,
        workload_name=WORKLOAD,
        host={"machine_class": MACHINE, "isa": ["asimd", "asimddp"], "kernel": "6.6.0", "engine": "onnxruntime 1.20"},
        load_ms=(210.5, 214.25, 208.0),
        peak_memory_mib=(71.5, 71.5, 71.75),
        power_w=(),
        packed_calls=pack_calls(calls),
        packed_workload=pack(workload["total"]),
        packed_answers=None if evaluation is None else pack_answers(evaluation),
    )
    return replace(made, **changes)
