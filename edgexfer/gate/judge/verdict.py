"""Verdicts: what became of each limit, and of all of them together. The record that `gate --json` writes.

    {"kind": "gate", "format_version": 1, "summary": {"outcome": "fail", "exit_code": 1}, "verdicts": [...], ...}

`summary` is for people and other programs; it is never read back.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Literal, TypeAlias

from edgexfer.gate.judge.limits import Limit
from edgexfer.gate.measure.record import Subject, from_record, to_record

Outcome: TypeAlias = Literal["pass", "fail", "inconclusive"]
EXIT_CODES: dict[Outcome, int] = {"pass": 0, "fail": 1, "inconclusive": 3}


@dataclass(frozen=True)
class Verdict:
    """What became of one limit.

    Attributes:
        limit: what was asked.
        outcome: "pass", "fail" or "inconclusive".
        reason: one sentence: what was found, or why nothing can be said.
        value: of the candidate, in the metric's unit; None where it was not measured.
        reference: of the baseline or of the float network; None where the limit is absolute or it was not measured.
        change: candidate against reference: relative (0.05 = 5 % more) for a limit that is, else the difference in
            the metric's unit (a fraction's in 0 to 1). None where there is no reference.
        low: lower end of the confidence interval of `change`, or of `value` where the limit is absolute; None for
            what has no noise.
        high: upper end of it.
        evidence: numbers that the verdict stands on, such as {"blocks": 40, "p_value": 0.002, "images": 310}.
    """

    limit: Limit
    outcome: Outcome
    reason: str
    value: float | None = None
    reference: float | None = None
    change: float | None = None
    low: float | None = None
    high: float | None = None
    evidence: dict[str, Any] = field(default_factory=dict)


def outcome_of(low: float, high: float, limit: float, *, lower: bool) -> Outcome:
    """Returns what an interval says of a limit: beyond it, within it, or neither where the limit lies inside.

    Args:
        low: lower end of the interval.
        high: upper end of it.
        limit: in the same unit.
        lower: whether it must be lower than the limit; else it must be higher.
    """
    if low > limit:
        return "fail" if lower else "pass"
    if high <= limit:
        return "pass" if lower else "fail"
    return "inconclusive"


@dataclass(frozen=True)
class Flip:
    """An image that candidate and reference answer differently.

    Attributes:
        path: relative to the data set's root.
        sha256: of the file, or its first 16 digits where the reference is a baseline's file.
        label: the true class.
        before: what the reference said.
        after: what the candidate says.
    """

    path: str
    sha256: str
    label: str
    before: str
    after: str

    @property
    def kind(self) -> Literal["lost", "won", "changed"]:
        """Returns "lost" where it was right before, "won" where it is now, "changed" where it is wrong both times."""
        if self.before == self.label:
            return "lost"
        return "won" if self.after == self.label else "changed"


@dataclass(frozen=True)
class GateResult:
    """Every verdict on one bundle.

    Attributes:
        subject: the candidate, and what ran it.
        verdicts: one for each limit (one for each class where the metric has one for each).
        baseline: what it was compared with, in words; "" for nothing.
        baseline_digest: SHA-256 that names that bundle; "" for nothing.
        machine_class: of the machine that judged.
        flips: images that baseline and candidate answer differently.
        warnings: what a reader must know, in sentences.
        data: what accuracy was judged on, in words.
        seconds: how long it took.
        host: see edgexfer/gate/machine/host.py.
    """

    subject: Subject
    verdicts: tuple[Verdict, ...]
    baseline: str = ""
    baseline_digest: str = ""
    machine_class: str = ""
    flips: tuple[Flip, ...] = ()
    warnings: tuple[str, ...] = ()
    data: str = ""
    seconds: float = 0.0
    host: dict[str, Any] = field(default_factory=dict)

    @property
    def outcome(self) -> Outcome:
        """The worst of all: one fail fails, else one inconclusive is inconclusive. Nothing judged is inconclusive."""
        found = {verdict.outcome for verdict in self.verdicts}
        return "fail" if "fail" in found else "pass" if found == {"pass"} else "inconclusive"

    @property
    def exit_code(self) -> int:
        """0 passed, 1 failed, 3 inconclusive."""
        return EXIT_CODES[self.outcome]

    def counted(self) -> dict[Outcome, int]:
        """Returns how many verdicts there are of each outcome."""
        found = [verdict.outcome for verdict in self.verdicts]
        return {outcome: found.count(outcome) for outcome in EXIT_CODES}

    def to_json(self) -> dict[str, Any]:
        """Returns the record that `gate --json` writes."""
        summary: dict[str, Any] = {"outcome": self.outcome, "exit_code": self.exit_code}
        return to_record("gate", self, summary | {str(name): count for name, count in self.counted().items()})


def gate_result_from_json(record: Any, where: str) -> GateResult:
    """Reads what `to_json` wrote; `where` is named in errors.

    Raises:
        ArtifactError: not such a record, of another format_version, or with keys or values that do not fit.
    """
    again = "judge again with `edgexfer gate BUNDLE --json FILE`"
    return from_record({"gate": GateResult}, record, where, noun="what `edgexfer gate --json` writes", again=again)
