"""The latency table: what each layer of a network takes at some widths, told by the target's own engine.

Layers are timed inside whole networks, as the engine fuses and lays them out there: taken out one by one, a layer of
ONNX Runtime's would be billed for two transposes that it never does. A dozen files of drawn widths take turns; each
layer is recognised as a reader and writer of groups by the sizes of its tensors, which change with theirs, and its time
is fitted as a constant, so much a channel read, a channel written and a pair of both, none of them negative (Lawson and
Hanson 1974). So any engine will do that says of a layer its time and the sizes of what it reads and writes.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import nnls

from edgexfer.backends import LayerTimer
from edgexfer.core.bundle import Bundle
from edgexfer.core.layer_times import LayerTime
from edgexfer.train.prune.cost import Cost, Term, Widths
from edgexfer.train.prune.groups import Group

FILES = 12
_ROUNDS = 3
_CALLS = 12
_NARROWEST = 0.25
# Whatever else runs on this machine only ever adds time, so the quicker calls are the layer's own.
_QUICK = 0.25

Progress = Callable[[int, int], None]


def drawn_widths(groups: Sequence[Group], *, block: int, seed: int = 0) -> list[Widths]:
    """Returns widths for the files of the table, the full ones first; each int64 [groups], multiples of `block`.

    No two groups have the same course over the files, unless they are too narrow to have any.
    """
    full = np.array([group.width for group in groups], np.int64)
    least = np.minimum(full, np.maximum(block, np.ceil(full * _NARROWEST / block).astype(np.int64) * block))
    draw = np.random.default_rng(seed)
    while True:
        ends = list(zip(least.tolist(), full.tolist(), strict=True))
        narrower = [np.array([draw.choice(_choices(*end, block)) for end in ends]) for _ in range(FILES - 1)]
        made = [full, *narrower]
        courses = [tuple((np.stack(made)[:, g] / full[g]).tolist()) for g in range(len(groups))]
        moving = [course for course in courses if set(course) != {1.0}]
        if len(set(moving)) == len(moving):
            return made


def latency_table(
    files: Sequence[tuple[Widths, Bundle]],
    timer: LayerTimer,
    pixels: NDArray[np.uint8],
    *,
    threads: int,
    progress: Progress | None = None,
) -> Cost:
    """Times the layers of several files in turns and fits the table.

    Args:
        files: widths with the bundle that has them, the full ones first.
        timer: the target's engine.
        pixels: uint8 [1, H, W, 3].
        threads: of one inference.
        progress: called with (files timed, all).

    Returns:
        The cost in microseconds.
    """
    draw = random.Random(0)
    taken: list[list[tuple[LayerTime, ...]]] = [[] for _ in files]
    for turn in range(_ROUNDS):
        for done, number in enumerate(draw.sample(range(len(files)), len(files))):
            taken[number].append(timer.time_layers(files[number][1], pixels, threads=threads, calls=_CALLS))
            if progress is not None:
                progress(turn * len(files) + done + 1, _ROUNDS * len(files))
    return fit_table([widths for widths, _ in files], taken)


def fit_table(widths: Sequence[Widths], taken: Sequence[Sequence[Sequence[LayerTime]]]) -> Cost:
    """Fits a table to what was measured.

    Args:
        widths: of each file, the full ones first.
        taken: for each file its openings, for each of these its layers.

    Returns:
        The cost in microseconds. Layers that only some of the files have, since an engine lays out some widths
        otherwise, count with their mean.
    """
    times: list[dict[str, float]] = []
    for openings in taken:
        samples: dict[str, list[int]] = {}
        for layer in (layer for opening in openings for layer in opening):
            samples.setdefault(layer.name, []).extend(layer.samples_ns)
        times.append({name: float(np.quantile(ns, _QUICK)) / 1000 for name, ns in samples.items()})
    sizes = [{layer.name: (layer.read, layer.written) for layer in openings[0]} for openings in taken]
    courses = np.stack(widths).astype(np.float64)
    everywhere = [name for name in times[0] if all(name in found for found in times)]
    rest = [sum(us for name, us in found.items() if name not in set(everywhere)) for found in times]
    terms = [Term(None, None, float(np.mean(rest)))]
    for name in everywhere:
        reads, writes = (_group_of(courses, np.array([size[name][side] for size in sizes], float)) for side in (0, 1))
        terms.append(_fitted(courses, reads, writes, np.array([found[name] for found in times])))
    return Cost("us", tuple(terms))


def _group_of(courses: NDArray[np.float64], elements: NDArray[np.float64]) -> int | None:
    """Returns the group whose width goes with the number of elements, file by file; None where it never changes."""
    if not elements[0] or (elements == elements[0]).all():
        return None
    same = np.isclose(courses / courses[0], (elements / elements[0])[:, None], rtol=1e-9).all(0)
    return int(np.argmax(same)) if same.any() else None


def _fitted(courses: NDArray[np.float64], reads: int | None, writes: int | None, us: NDArray[np.float64]) -> Term:
    if reads == writes:
        reads = None
    one = np.ones(len(us))
    read = one if reads is None else courses[:, reads] / courses[0, reads]
    written = one if writes is None else courses[:, writes] / courses[0, writes]
    columns = [one, *([] if reads is None else [read]), *([] if writes is None else [written])]
    columns += [read * written] if reads is not None and writes is not None else []
    # Each file's error counts in proportion to its time: narrow ones are where pruning leads.
    found, _ = nnls(np.stack(columns, 1) / us[:, None], one)
    parts = iter(found.tolist())
    constant = next(parts)
    by_read = 0.0 if reads is None else next(parts) / courses[0, reads]
    by_write = 0.0 if writes is None else next(parts) / courses[0, writes]
    by_pair = 0.0
    if reads is not None and writes is not None:
        by_pair = next(parts) / courses[0, reads] / courses[0, writes]
    return Term(reads, writes, constant, by_read, by_write, by_pair)


def _choices(least: int, full: int, block: int) -> NDArray[np.int64]:
    return np.unique([*range(least, full + 1, block), full])
