"""Judge: a bundle, limits and a baseline in, a verdict on each limit out. What `edgexfer gate` does.

Where nothing can be said, or the machine was not steady, a verdict is inconclusive and says why; never a pass.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence
from pathlib import Path

from edgexfer.core.bundle import Bundle
from edgexfer.gate.judge.by_answers import by_answers, data_in_words, doubts_on_answers, flipped
from edgexfer.gate.judge.evidence import Evidence
from edgexfer.gate.judge.exactly import judge_bundle
from edgexfer.gate.judge.limits import Limit, limits_of
from edgexfer.gate.judge.sampling import judge_calls
from edgexfer.gate.judge.stability import doubted
from edgexfer.gate.judge.started import judge_power, judge_started
from edgexfer.gate.judge.stored import acquitted, extra_of, foreign
from edgexfer.gate.judge.unfit import unfit_here
from edgexfer.gate.judge.verdict import GateResult, Verdict
from edgexfer.gate.machine.device_state import device_state
from edgexfer.gate.machine.fitness import disqualifying, objections
from edgexfer.gate.measure.timing import Progress, check_seconds

SECONDS = 45.0
"""How long latency is measured before a verdict is given up as inconclusive."""


def judge(
    bundle: str | Path | Bundle,
    *,
    baseline: str | Path | None = None,
    data: str | Path | None = None,
    limits: Sequence[Limit] | None = None,
    settings: Iterable[str] = (),
    seconds: float = SECONDS,
    threads: int | None = None,
    images: str | Path | None = None,
    backend: str | None = None,
    progress: Progress | None = None,
    evidence: Evidence | None = None,
) -> GateResult:
    """Holds a bundle to its limits.

    Args:
        bundle: the candidate; of no effect where `evidence` is given, as are the arguments that it takes.
        baseline: an older bundle, a baseline's file or a folder of them; None for `baselines/` where that is here.
        data: images of known class; None for the answers that were recorded at export.
        limits: what to hold it to; None for the standard ones, the target's and `settings`.
        settings: texts such as "latency_p95_ms.max=12" (gate/judge/limits.py).
        seconds: how long latency is measured at most, more than 0.
        threads: CPU threads of one inference; None for what the target says.
        images: a folder with images to measure latency with; None for the bundle's reference pixels as JPEGs.
        backend: the engine; None for the one that `load` takes.
        progress: called with (done, all): images while a network is asked about `data`, then seconds of measuring.
        evidence: what was measured before, to be gone on with.

    Raises:
        EdgexferError: a limit, a path or an option that makes no sense, or a bundle or baseline that is damaged.
    """
    check_seconds(seconds)
    started = time.perf_counter()
    seen = evidence or Evidence(
        bundle, baseline=baseline, data=data, threads=threads, images=images, backend=backend, progress=progress
    )
    target = seen.bundle.target
    if limits is None:
        limits = limits_of(target.gates, settings, target=target.name, max_drop=target.max_drop)
    unfit = unfit_here(seen)
    found: dict[str, tuple[Verdict, ...]] = {}
    for limit in limits:
        of = limit.of.of
        if of in ("answers", "classes"):
            found[limit.key] = by_answers(limit, seen)
        elif of == "bundle":
            found[limit.key] = (judge_bundle(limit, seen.bundle, seen.reference),)
        elif unfit:
            found[limit.key] = (Verdict(limit, "inconclusive", unfit),)
        elif of in ("process", "power"):
            verdict = _by_process(limit, seen) if of == "process" else _by_power(limit, seen)
            in_turns = limit.kind == "max_regress" and seen.reference.bundle is not None
            reasons = disqualifying(seen.host, device_state(), target)
            # Memory is the same however long a process waits.
            if not in_turns and limit.of.unit != "MiB" and of in seen.waited:
                reasons.append(seen.waited[of])
            found[limit.key] = (doubted(verdict, reasons, in_turns=in_turns),)
    calls = [limit for limit in limits if limit.key not in found]
    timed = judge_calls(calls, seen, seconds, progress)
    found |= {key: (verdict,) for key, verdict in timed.items()}
    answered = any(limit.of.of in ("answers", "classes") for limit in limits)
    host = {**seen.host, "after": device_state()}
    return GateResult(
        subject=seen.subject,
        verdicts=tuple(verdict for limit in limits for verdict in found[limit.key]),
        baseline=seen.reference.words,
        baseline_digest=seen.reference.digest,
        machine_class=seen.machine_class,
        flips=flipped(limits, seen),
        warnings=(
            *doubts_on_answers(limits, seen),
            *(objections(host, host["after"], target) if any(v.value is not None for v in timed.values()) else ()),
            *_forced(seen),
        ),
        data=data_in_words(seen) if answered else "",
        seconds=time.perf_counter() - started,
        host=host,
    )


def _by_process(limit: Limit, seen: Evidence) -> Verdict:
    if reason := _nothing_to_compare(limit, seen):
        return Verdict(limit, "inconclusive", reason)
    return _acquitted(judge_started(limit, *seen.started, extra=_extra(limit, seen)), seen)


def _by_power(limit: Limit, seen: Evidence) -> Verdict:
    if reason := _nothing_to_compare(limit, seen):
        return Verdict(limit, "inconclusive", reason)
    candidate, reference, why_not = seen.power
    if why_not:
        return Verdict(limit, "inconclusive", why_not)
    return _acquitted(judge_power(limit, candidate, reference, extra=_extra(limit, seen)), seen)


def _acquitted(verdict: Verdict, seen: Evidence) -> Verdict:
    old = seen.reference
    if verdict.limit.kind != "max_regress" or old.bundle is not None or old.stored is None:
        return verdict
    return acquitted(verdict, old.stored)


def _nothing_to_compare(limit: Limit, seen: Evidence) -> str:
    old = seen.reference
    if limit.kind != "max_regress" or old.bundle is not None:
        return ""
    if old.stored is None:
        return old.missing
    return foreign(old.stored, machine_class=seen.machine_class, threads=seen.threads) or ""


def _extra(limit: Limit, seen: Evidence) -> float:
    return extra_of(limit) if seen.reference.bundle is None and seen.reference.stored is not None else 0.0


def _forced(seen: Evidence) -> tuple[str, ...]:
    despite = seen.reference.stored.accepted.despite if seen.reference.stored is not None else ()
    return (f"the baseline was accepted although {'; '.join(despite)}",) if despite else ()
