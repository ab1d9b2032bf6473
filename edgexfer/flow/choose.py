"""choose: which of a bundle's candidates is fast and still right, judged on the same images and timed in turns.

The most precise candidate is the measure of the others. "auto" ships the fastest that loses no more top-1 than the
target allows; of those that cannot be told apart the smaller. Nothing is refused or shipped without its reason.
"""

from __future__ import annotations

import platform
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from edgexfer.core.bundle import Bundle
from edgexfer.core.target import PRECISIONS, Target
from edgexfer.core.threads import Progress
from edgexfer.gate.judge.compare import Comparison, compare
from edgexfer.gate.measure.bench import bench
from edgexfer.gate.measure.evaluate import evaluate
from edgexfer.gate.measure.evaluation import Evaluation
from edgexfer.gate.measure.latency import Latency
from edgexfer.gate.measure.measured import Measured

_LABELS = {
    "float32": "float",
    "float16": "FP16",
    "int8-depthwise-float16": "INT8 with depthwise layers in FP16",
    "int8": "INT8",
}
Time = Callable[[str, str], "Comparison | None"]
"""Compares the latency of a precision with that of another; None where there is no clock to go by."""


@dataclass(frozen=True)
class Choice:
    """What was measured and what ships.

    Attributes:
        precision: what ships.
        measured: every candidate that was tried, the most precise first.
        decision: one sentence.
        warnings: what a user must know before shipping, in sentences.
    """

    precision: str
    measured: tuple[Measured, ...]
    decision: str
    warnings: tuple[str, ...] = ()


def choose(
    bundle: Bundle,
    evaluations: Mapping[str, Evaluation],
    *,
    wanted: str,
    backend: str,
    seconds: float,
    timed: bool = True,
) -> Choice:
    """Times the candidates of a bundle that were evaluated, and decides.

    Args:
        bundle: holds a candidate for each key of `evaluations`.
        evaluations: one for each precision, all of the same images.
        wanted: the precision to ship, or "auto".
        backend: the engine that runs them here.
        seconds: how long to time each pair.
        timed: whether this machine's clock says anything; where not, all is decided by accuracy.

    Raises:
        EdgexferError: what `compare` raises.
    """
    latencies: dict[str, Latency] = {}
    comparisons: dict[tuple[str, str], Comparison] = {}

    def time(candidate: str, against: str) -> Comparison | None:
        if timed and (candidate, against) not in comparisons:
            made = compare(bundle.at(candidate), bundle.at(against), seconds=seconds, threads=1, backend=backend)
            comparisons[candidate, against] = made
            latencies.setdefault(against, made.against)
            latencies.setdefault(candidate, made.bundle)
        return comparisons.get((candidate, against))

    names = [name for name in PRECISIONS if name in evaluations]
    shipped, decision, doubts = decide({name: evaluations[name] for name in names}, time, bundle.target, wanted)
    if timed and len(names) == 1:
        latencies[shipped] = bench(bundle.at(shipped), seconds=seconds, threads=1, backend=backend)
    measured = tuple(
        Measured(
            name,
            evaluations[name],
            latencies.get(name),
            bundle.at(name).model.stat().st_size,
            shipped=name == shipped,
        )
        for name in names
    )
    return Choice(shipped, measured, decision, doubts)


def judge(
    bundle: Bundle, data: str | Path, *, backend: str, partial: bool = False, progress: Progress | None = None
) -> dict[str, Evaluation]:
    """Evaluates every candidate of a bundle on the same images; returns {precision: Evaluation}.

    Args:
        bundle: with its candidates.
        data: images.
        backend: the engine that runs them here.
        partial: accept that some of the bundle's classes do not occur.
        progress: called with (done, all) while images are judged.

    Raises:
        EdgexferError: what `evaluate` raises.
    """
    return {
        precision: evaluate(bundle.at(precision), data, backend=backend, partial=partial, progress=progress)
        for precision in bundle.candidates
    }


def decide(
    evaluations: Mapping[str, Evaluation], time: Time, target: Target, wanted: str
) -> tuple[str, str, tuple[str, ...]]:
    """Returns which precision ships, why, and what to warn of.

    Args:
        evaluations: the most precise candidate first.
        time: called for those pairs whose ratio matters.
        target: its `max_drop` is the limit; on another kind of machine than its own the clock decides nothing.
        wanted: the precision to ship, or "auto".
    """
    base, *others = evaluations
    if not others:
        return base, f"{base} ships: nothing else was asked for", ()
    here = target.host.get("machine", platform.machine()) == platform.machine()
    timings = {name: time(name, base) for name in others}
    clocks = timings if here else dict.fromkeys(others)
    drops = {name: evaluations[base].top1 - evaluations[name].top1 for name in others}
    accuracy = {name: _in_words(name, base, drop) for name, drop in drops.items()}
    holds = [name for name in others if target.allows(drops[name])]
    slower = {name: clock for name, clock in clocks.items() if clock is not None and clock.low > 1}
    limit = f"the limit is {target.max_drop * 100:.2f}"
    if wanted == base:
        return base, f"{base} ships, as asked", ()
    if wanted in others:
        doubts = [f"{accuracy[wanted]}; {limit}: it ships because precision {wanted} was asked for"]
        doubts = [] if wanted in holds else doubts
        if wanted in slower:
            doubts.append(f"{_LABELS[wanted]} is slower than {_LABELS[base]} here: {slower[wanted].sentence}")
        return wanted, f"{wanted} ships, as asked: {accuracy[wanted]}{_speed(clocks[wanted])}", tuple(doubts)
    reasons = {name: f"{accuracy[name]}, {limit}" for name in others if name not in holds}
    refused = {name: f"{_LABELS[name]} was not shipped: {reason}" for name, reason in reasons.items()}
    for name in holds:
        if name in slower:
            reasons[name] = f"{_LABELS[name]} holds the accuracy{_speed(slower[name])}"
            refused[name] = f"{_LABELS[name]} was not shipped: it is slower here"
    rivals = [name for name in holds if name not in slower]
    if not rivals:
        return base, f"{base} ships: {'; '.join(reasons.values())}", tuple(refused.values())
    best, beaten = _fastest(rivals, time if here else None)
    doubts = [*refused.values(), *beaten]
    return best, f"{best} ships: {accuracy[best]} ({limit}){_speed(clocks[best])}", tuple(doubts)


def _fastest(rivals: Sequence[str], time: Time | None) -> tuple[str, list[str]]:
    """Returns the fastest, the last where none can be told apart, and why not the others where the clock said so."""
    best, *others = rivals
    beaten = []
    for name in others:
        clock = None if time is None else time(name, best)
        winner, loser = (best, name) if clock is not None and clock.low > 1 else (name, best)
        if clock is not None and not clock.low <= 1 <= clock.high:
            beaten.append(f"{_LABELS[loser]} was not shipped: {_LABELS[winner]} is faster here")
        best = winner
    return best, beaten


def _in_words(name: str, base: str, drop: float) -> str:
    if abs(drop) <= 1e-9:
        return f"{_LABELS[name]} has the same top-1 as {_LABELS[base]}"
    return f"{_LABELS[name]} {'loses' if drop > 0 else 'gains'} {abs(drop) * 100:.2f} points of top-1"


def _speed(clock: Comparison | None) -> str:
    return "" if clock is None else f" and is {clock.sentence}"
