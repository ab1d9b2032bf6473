"""Baseline: what a bundle was when somebody accepted it; one reviewed JSON file for each target and machine class.

    {"kind": "baseline", "format_version": 1,
     "subject": {...},                  the bundle, its digest, what ran it (gate/measure/record.py)
     "machine_class": "...",            of edgexfer/gate/machine/host.py; other machines do not compare
     "accepted": {"by", "at", "why", "despite"},
     "figures": {"latency_p50_ms": 4.85, ...},     for the reviewer, one a line; null where it was not measured
     "labels": [...], "threads", "images", "data", "workload_name", "host": {...},
     "load_ms": [...], "peak_memory_mib": [...],   one for each fresh process
     "power_w": [...],                             one for each reading
     "packed_calls": {"total": ..., ...}, "packed_workload": ...,   nanoseconds [blocks, calls], measured in turns
     "packed_answers": ...}             int [5, images]: see `ROWS`; null where there were no images of known class

The figures are those of the raw values (figures.py), and who edits one by hand is told so; of `size_bytes` alone the
file holds no more than the figure. Packed is what packed.py beside this file describes. Files of every format_version
that ever was are read; see tests/golden/baseline/.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any, get_args

import numpy as np

from edgexfer.gate.judge.packed import Packed, pack, unpack
from edgexfer.gate.measure.evaluation import Evaluation, ImageResult, Role
from edgexfer.gate.measure.record import Subject
from edgexfer.gate.measure.turns import Blocks
from edgexfer.gate.metrics import Started

FORMAT_VERSION = 1
# Rows of the packed answers, sorted by the first: the first 8 bytes of the image's SHA-256 as a signed big-endian
# integer, ids of its class and of the predicted one, the score in 1/10,000, and its role as an index.
ROWS = 5
SCORE = 10_000
ROLES: tuple[Role, ...] = get_args(Role)


@dataclass(frozen=True)
class Accepted:
    """Who accepted a baseline, and why.

    Attributes:
        by: a person, as git knows them.
        at: date and time in UTC, such as "2025-11-21T08:30:00Z".
        why: in their own words; "" where it was the first.
        despite: what spoke against the machine and was overruled, in sentences.
    """

    by: str
    at: str
    why: str = ""
    despite: tuple[str, ...] = ()


@dataclass(frozen=True)
class Baseline:
    """What a bundle was when it was accepted, every raw value kept.

    Attributes:
        subject: the bundle, and what ran it.
        machine_class: of the machine that measured it.
        accepted: who accepted it, and why.
        figures: for people, by name; None where it was not measured.
        labels: class names in the order of the network's output.
        threads: of one inference; None for the engine's own choice.
        images: what was measured with, in words.
        data: what `packed_answers` are of, in words; "" for nothing.
        workload_name: see edgexfer/gate/measure/workload.py.
        host: facts of the machine that matter.
        load_ms: of fresh processes, one each.
        peak_memory_mib: of the same processes.
        power_w: readings while it predicted, in watts; empty where the device does not tell.
        packed_calls: nanoseconds of each step; see `calls`.
        packed_workload: nanoseconds of the reference workload; see `workload`.
        packed_answers: see `evaluation`; None where there were no images of known class.
    """

    subject: Subject
    machine_class: str
    accepted: Accepted
    figures: dict[str, float | None]
    labels: tuple[str, ...]
    threads: int | None
    images: str
    data: str
    workload_name: str
    host: dict[str, Any]
    load_ms: tuple[float, ...]
    peak_memory_mib: tuple[float, ...]
    power_w: tuple[float, ...]
    packed_calls: dict[str, Packed]
    packed_workload: Packed
    packed_answers: Packed | None = None
    format_version: int = field(default=FORMAT_VERSION, compare=False)

    def calls(self) -> Blocks:
        """Returns {step: nanoseconds of the bundle's calls, int64 [blocks, calls]}."""
        return {step: unpack(packed, f"calls.{step}") for step, packed in self.packed_calls.items()}

    def workload(self) -> Blocks:
        """Returns {"total": nanoseconds of the reference workload, int64 [blocks, calls]}, in turns with `calls`."""
        return {"total": unpack(self.packed_workload, "workload")}

    def started(self) -> tuple[Started, ...]:
        """Returns what fresh processes said of themselves."""
        return tuple(Started(load_ms, peak) for load_ms, peak in zip(self.load_ms, self.peak_memory_mib, strict=True))

    def evaluation(self) -> Evaluation | None:
        """Returns its answers, sorted by image; None where there are none.

        Of each image its `path` and `sha256` are the first 16 digits of its SHA-256, and `score_label` is nan where
        the class is not the predicted one: more is not kept.
        """
        if self.packed_answers is None:
            return None
        digests, truth, predicted, scores, roles = unpack(self.packed_answers, "answers")
        digits = [int(digest).to_bytes(8, "big", signed=True).hex() for digest in digests]
        images = tuple(
            ImageResult(
                path=digits[i],
                sha256=digits[i],
                role=ROLES[roles[i]],
                label=self.labels[truth[i]],
                predicted=self.labels[predicted[i]],
                score=float(scores[i]) / SCORE,
                score_label=float(scores[i]) / SCORE if truth[i] == predicted[i] else math.nan,
            )
            for i in range(len(digits))
        )
        return Evaluation(self.subject, self.data, self.labels, images, host=dict(self.host))


def pack_calls(calls: Blocks) -> dict[str, Packed]:
    """Packs nanoseconds of each step, int64 [blocks, calls]."""
    return {step: pack(values) for step, values in calls.items()}


def pack_answers(evaluation: Evaluation) -> Packed | None:
    """Packs the answers to every image; None where there is no image."""
    ids = {label: number for number, label in enumerate(evaluation.labels)}
    rows = sorted(
        (
            int.from_bytes(bytes.fromhex(image.sha256[:16]), "big", signed=True),
            ids[image.label],
            ids[image.predicted],
            round(image.score * SCORE),
            ROLES.index(image.role),
        )
        for image in evaluation.images
    )
    return pack(np.array(rows, np.int64).T) if rows else None
