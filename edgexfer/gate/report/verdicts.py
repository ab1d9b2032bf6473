"""Verdicts on the page: what `edgexfer gate` decided, as a table, and drawn as parts of what each limit allows."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from edgexfer.core.errors import ArtifactError
from edgexfer.gate.judge.verdict import GateResult, Outcome, Verdict, gate_result_from_json
from edgexfer.gate.metrics import METRICS
from edgexfer.gate.report.drawing import COLOURS, Drawing, draw
from edgexfer.gate.words import change_in_words, interval_in_words, limit_in_words, value_in_words

if TYPE_CHECKING:
    from matplotlib.figure import Figure

SIGNS: dict[Outcome, str] = {"pass": "✓", "fail": "✗", "inconclusive": "?"}
_ORDER: tuple[Outcome, ...] = ("fail", "inconclusive", "pass")
_COLOURS: dict[Outcome, str] = {"pass": "good", "fail": "bad", "inconclusive": "muted"}
_MARKS: dict[Outcome, str] = {"pass": "o", "fail": "X", "inconclusive": "D"}
_FARTHEST = 4.0  # times a limit: what lies beyond is drawn at the edge


@dataclass(frozen=True)
class VerdictRow:
    """One verdict in words.

    Attributes:
        outcome: "pass", "fail" or "inconclusive".
        sign: the same without colour.
        subject: the metric, and the class where there is one.
        limit: what was asked.
        source: who asked it.
        value: of this bundle; where the limit is absolute, with its confidence interval on a line of its own.
        reference: of what it was compared with; "" for nothing.
        change: with its confidence interval on a line of its own; "" for none.
        reason: one sentence.
    """

    outcome: Outcome
    sign: str
    subject: str
    limit: str
    source: str
    value: str
    reference: str
    change: str
    reason: str


def read_gate(path: Path) -> GateResult:
    """Reads what `edgexfer gate --json` wrote.

    Raises:
        ArtifactError: missing, not JSON, or no such record.
    """
    again = "judge again with `edgexfer gate BUNDLE --json FILE`"
    try:
        record = json.loads(path.read_bytes())
    except OSError as error:
        raise ArtifactError(f"cannot read {path}: {error.strerror}", again) from error
    except (ValueError, RecursionError) as error:
        raise ArtifactError(f"{path} is not valid JSON: {error}", again) from error
    gate = gate_result_from_json(record, str(path))
    if strange := next((v.limit.metric for v in gate.verdicts if v.limit.metric not in METRICS), None):
        raise ArtifactError(f"{path} judges '{strange}', which this edgexfer does not know", again)
    return gate


def check_subject(gate: GateResult, folder: Path, digest: str) -> None:
    """Raises ArtifactError where `gate` is about another artifact than the one in `folder`."""
    if gate.subject.digest != digest:
        raise ArtifactError(
            f"the verdicts are about {gate.subject.bundle} ({gate.subject.digest}), but {folder} is {digest}",
            f"judge this one with `edgexfer gate {folder} --json FILE`",
        )


def verdict_rows(gate: GateResult) -> list[VerdictRow]:
    """Returns the verdicts in words: what failed first, then what is open, then what passed."""
    ordered = sorted(gate.verdicts, key=lambda verdict: _ORDER.index(verdict.outcome))
    return [
        VerdictRow(
            v.outcome,
            SIGNS[v.outcome],
            v.limit.subject,
            limit_in_words(v.limit),
            v.limit.source,
            _value(v),
            "" if v.reference is None else value_in_words(v.limit.of, v.reference),
            change_in_words(v).replace(" (", "\n("),
            v.reason,
        )
        for v in ordered
    ]


def verdict_drawing(gate: GateResult) -> Drawing | None:
    """Draws each change as a part of what its limit allows; None where no limit compares."""
    found = [(verdict, _part(verdict, verdict.change)) for verdict in gate.verdicts]
    known = [(verdict, part) for verdict, part in found if part is not None]
    if not known:
        return None
    known.sort(key=lambda pair: (_ORDER.index(pair[0].outcome), -pair[1]))
    known = known[:20]
    reach = min(_FARTHEST, max(1.5, *(abs(end) for v, part in known for end in (part, *_ends(v, part)))))

    def paint(figure: Figure) -> None:
        axes = figure.add_subplot()
        axes.axvspan(1, reach * 1.08, color=COLOURS["bad"], alpha=0.12, linewidth=0)
        axes.axvline(0, color=COLOURS["muted"], linewidth=1)
        axes.axvline(1, color=COLOURS["bad"], linewidth=1.4, linestyle=(0, (4, 2)))
        for place, (verdict, part) in enumerate(known):
            colour = COLOURS[_COLOURS[verdict.outcome]]
            ends = [max(-reach, min(reach, end)) for end in _ends(verdict, part)]
            axes.plot(ends, [place, place], color=colour, linewidth=2.6, solid_capstyle="round")
            middle = max(-reach, min(reach, part))
            axes.plot([middle], [place], marker=_MARKS[verdict.outcome], markersize=8, color=colour)
            words = f"{SIGNS[verdict.outcome]} {verdict.limit.key}  {change_in_words(verdict, interval=False)}"
            words += "  (off the picture)" if abs(part) > reach else ""
            # On a ground of its own: the lines of the axes would strike it through.
            ground = {"facecolor": COLOURS["card"], "edgecolor": "none", "pad": 1.0}
            axes.text(-reach, place - 0.3, words, va="bottom", bbox=ground)
        axes.set_xlim(-reach * 1.08, reach * 1.08)
        axes.set_ylim(len(known) - 0.5, -0.95)
        axes.set_yticks([])
        axes.grid(visible=False, axis="y")
        axes.spines["left"].set_visible(False)
        axes.set_xlabel("better  ←   0 = unchanged,  1 = the limit   →  worse")

    said = "; ".join(f"{v.limit.key} at {part:.2f} of its limit: {v.outcome}" for v, part in known)
    return draw(
        "verdicts-drawn", "How much of each limit is used",
        f"Points with their confidence intervals, where 0 is unchanged and 1 is the limit. {said}.",
        paint, height_inches=0.95 + 0.42 * len(known),
        caption="Lines are confidence intervals. Right of the dashed line the limit is exceeded.",
    )  # fmt: skip


def _value(verdict: Verdict) -> str:
    said = value_in_words(verdict.limit.of, verdict.value)
    ends = interval_in_words(verdict) if verdict.change is None else ""
    return f"{said}\n({ends})" if ends else said


def _part(verdict: Verdict, change: float | None) -> float | None:
    limit = verdict.limit
    if change is None or limit.kind in ("max", "min") or limit.value <= 0:
        return None
    return (change if limit.of.better == "lower" else -change) / limit.value


def _ends(verdict: Verdict, part: float) -> tuple[float, float]:
    ends = sorted(part if (end := _part(verdict, side)) is None else end for side in (verdict.low, verdict.high))
    return ends[0], ends[1]
