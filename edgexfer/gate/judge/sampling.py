"""Sampling: candidate and reference are measured until each limit on latency is decided, or the time is up."""

from __future__ import annotations

from collections.abc import Sequence

from edgexfer.gate.judge.evidence import Evidence
from edgexfer.gate.judge.limits import Limit
from edgexfer.gate.judge.stability import doubted, unsteady
from edgexfer.gate.judge.stored import judge_stored
from edgexfer.gate.judge.turn_by_turn import judge_turns
from edgexfer.gate.judge.verdict import Verdict
from edgexfer.gate.machine.contention import kept_waiting
from edgexfer.gate.machine.device_state import device_state
from edgexfer.gate.measure.timing import Progress
from edgexfer.gate.measure.turns import ROUND_SECONDS

LEAST_ROUNDS = 3
"""Each round opens both sides anew; fewer than these may share one lucky place in memory."""
_PATIENCE = 1.5  # looks become rarer, since each one costs a bootstrap and a little certainty


def judge_calls(
    limits: Sequence[Limit], seen: Evidence, seconds: float, progress: Progress | None = None
) -> dict[str, Verdict]:
    """Judges limits on metrics of "calls"; returns {key of the limit: verdict}.

    Args:
        limits: what is asked.
        seen: what was measured before counts, and what is measured now is added.
        seconds: of measuring; then what is not decided is inconclusive.
        progress: called with (seconds of measuring, all of them).
    """
    found = {
        limit.key: Verdict(limit, "inconclusive", seen.reference.missing)
        for limit in limits
        if limit.kind == "max_regress" and seen.reference.missing
    }
    waiting = [limit for limit in limits if limit.key not in found]
    if not waiting:
        return found
    before, next_look = seen.turns.seconds, 0.0
    while waiting:
        spent = seen.turns.seconds - before
        over = spent >= seconds
        if over or (seen.turns.rounds >= LEAST_ROUNDS and spent >= next_look):
            found |= {limit.key: _look(limit, seen) for limit in waiting}
            waiting = [] if over else [one for one in waiting if found[one.key].outcome == "inconclusive"]
            next_look = _PATIENCE * spent
        if waiting:
            seen.turns.more(min(ROUND_SECONDS, seconds / LEAST_ROUNDS))
            if progress is not None:
                progress(min(seen.turns.seconds - before, seconds), seconds)
    reasons = unsteady(seen.turns.sides, seen.host, device_state(), seen.bundle.target)
    if not seen.turns.steady:
        reasons.append("the times were still changing after the warm-up")
    # The workload's short calls are not interrupted as a long call is: with it, another day's times do not compare.
    waited = kept_waiting(dict.fromkeys(seen.turns.contention, 0), seen.turns.contention)
    return {
        key: doubted(
            verdict,
            [*reasons, waited] if waited and _stored(verdict.limit, seen) else reasons,
            in_turns=_in_turns(verdict.limit, seen),
        )
        for key, verdict in found.items()
    }


def _in_turns(limit: Limit, seen: Evidence) -> bool:
    return limit.kind == "max_regress" and seen.reference.bundle is not None


def _stored(limit: Limit, seen: Evidence) -> bool:
    return limit.kind == "max_regress" and seen.reference.bundle is None and seen.reference.stored is not None


def _look(limit: Limit, seen: Evidence) -> Verdict:
    candidate, *others = seen.turns.sides
    if limit.kind != "max_regress":
        return judge_turns(limit, candidate)
    if seen.reference.bundle is not None or seen.reference.stored is None:
        return judge_turns(limit, candidate, others[0])
    return judge_stored(
        limit,
        candidate,
        others[0],
        seen.reference.stored,
        machine_class=seen.machine_class,
        threads=seen.threads,
        images=seen.images,
    )
