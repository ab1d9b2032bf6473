"""Stability: was the machine steady enough while it was measured that its times may acquit anybody?

Drift is seen in the samples themselves: the level of each block (judge/interval.py), slow ones by fast ones. What a
kernel counts (throttling, swapping, a change of power mode) is read before and after. Either one makes a verdict
inconclusive; a clear regression alone stays a failure, since both sides were measured in turns.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from edgexfer.core.target import Target
from edgexfer.gate.judge.interval import drift
from edgexfer.gate.judge.verdict import Verdict
from edgexfer.gate.machine.fitness import disqualifying
from edgexfer.gate.measure.turns import Blocks

MOST_DRIFT = 1.4
"""Blocks of 20 calls of a few ms scatter by 1.1 to 1.2 on an idle machine; a CPU that throttles loses more."""


def unsteady(
    sides: Sequence[Blocks], host: dict[str, Any], after: dict[str, Any], target: Target | None = None
) -> list[str]:
    """Returns why the samples may not acquit, in sentences; empty where they may.

    Args:
        sides: what was measured in turns, {step: nanoseconds [blocks, calls]} of each side.
        host: facts from before the measurement (edgexfer/gate/machine/host.py).
        after: reading of `device_state` from after it.
        target: the profile that the bundle was made for.
    """
    found = disqualifying(host, after, target)
    factor = drift(sides)
    if factor > MOST_DRIFT:
        found.append(
            f"the machine drifted: its slow turns took {factor:.2f} times its fast ones (at most {MOST_DRIFT:g} is "
            "steady); something else uses it, or it throttles"
        )
    return found


def doubted(verdict: Verdict, reasons: Sequence[str], *, in_turns: bool) -> Verdict:
    """Returns the verdict as it stands on a machine that was not steady.

    Args:
        verdict: from the samples alone.
        reasons: what `unsteady` found.
        in_turns: whether candidate and reference were measured in turns: their difference is then not the machine's.
    """
    if not reasons or verdict.outcome == "inconclusive":
        return verdict
    if verdict.outcome == "fail" and in_turns:
        return replace(verdict, reason=f"{verdict.reason}; measured in turns, so it stands although {reasons[0]}")
    return replace(verdict, outcome="inconclusive", reason=f"{verdict.reason}, but {'; '.join(reasons)}")
