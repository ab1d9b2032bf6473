"""Annotations: a GateResult as workflow commands of GitHub Actions, lines on standard output that it shows on the run.

    ::error title=top1.max_regress%3A fail::9 of 310 images lost ...
    ::warning title=latency_p50_ms.max_regress%3A inconclusive::...
    ::notice title=edgexfer gate%3A fail::signs for raspberry-pi-5: 1 fail, 1 inconclusive, 5 pass

Escaping as in actions/toolkit (packages/core/src/command.ts): %, CR and LF in the message, in a property also
colon and comma. GitHub shows ten errors, ten warnings and ten notices of a step; so what fails comes first, and the
notice counts all.
"""

from __future__ import annotations

from edgexfer.gate.judge.verdict import GateResult, Outcome, Verdict
from edgexfer.gate.output.foreign import one_line

_COMMANDS: dict[Outcome, str] = {"fail": "error", "inconclusive": "warning"}


def annotation_lines(result: GateResult) -> str:
    """Returns one line for each verdict that is no pass, failures first, and one notice that sums up."""
    told = [verdict for outcome in _COMMANDS for verdict in result.verdicts if verdict.outcome == outcome]
    return "".join(f"{line}\n" for line in (*map(_annotation, told), _notice(result)))


def _annotation(verdict: Verdict) -> str:
    title = f"{verdict.limit.key}: {verdict.outcome}"
    return f"::{_COMMANDS[verdict.outcome]} title={_property(title)}::{_message(verdict.reason)}"


def _notice(result: GateResult) -> str:
    counts = ", ".join(f"{count} {outcome}" for outcome, count in sorted(result.counted().items()) if count)
    said = f"{result.subject.bundle} for {result.subject.target}: {counts or 'no limit was judged'}"
    flips = f"; {len(result.flips)} images are answered differently" if result.flips else ""
    return f"::notice title={_property(f'edgexfer gate: {result.outcome}')}::{_message(said + flips)}"


def _message(text: str) -> str:
    return one_line(text).replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")


def _property(text: str) -> str:
    return _message(text).replace(":", "%3A").replace(",", "%2C")
