"""What a run of pytest says of its gates: the section in the terminal, the JSON file, the properties in JUnit XML.

    {"kind": "gates", "format_version": 1, "summary": {"outcome": "fail", "exit_code": 1, "pass": 3, ...},
     "results": [{"test": "test_model.py::test_not_slower", "gate": {...}}, ...],
     "errors": [{"test": "test_model.py::test_accurate", "error": "baselines/... is not valid JSON"}, ...]}

Each `gate` is what `edgexfer gate --json` writes of one judging; each error is of a test that failed and no verdict
says why. The outcome is the worst of all results; with an error it is never a pass.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

from edgexfer.core.files import write_file
from edgexfer.gate.judge.verdict import EXIT_CODES, Flip, GateResult, Outcome, Verdict, gate_result_from_json
from edgexfer.gate.metrics import METRICS
from edgexfer.gate.output.foreign import one_line
from edgexfer.gate.words import change_in_words, interval_in_words, limit_in_words, value_in_words

if TYPE_CHECKING:
    from edgexfer.gate.judge.accept import Proposal

FORMAT_VERSION = 1
FLIPS = 5
LISTED = 20
_ORDER: tuple[Outcome, ...] = ("fail", "inconclusive", "pass")
COLOURS = {"pass": "green", "fail": "red", "inconclusive": "yellow"}
Entry: TypeAlias = dict[str, Any]
"""What a test did, as it travels between processes: "test" is its node id, and one of "gate" (the record of a
GateResult), "accepted", "skipped" or "error" (a sentence)."""


def explained(result: GateResult) -> str:
    """Says of every limit that does not hold what was found, with its figures: the text that a failed test shows."""
    broken = _broken(result)
    lines = [line for verdict in broken[:LISTED] for line in (_headline(verdict), f"  {_figures(verdict)}")]
    if len(broken) > LISTED:
        lines.append(f"and {len(broken) - LISTED} more, which --edgexfer-json lists")
    if not result.verdicts:
        lines.append("nothing was judged: there is no limit")
    if result.flips and any(verdict.limit.of.of in ("answers", "classes") for verdict in broken):
        lines += [f"  {line}" for line in _flips(result.flips)]
    lines += [f"  {_heading(result)}", *(f"  {text}" for text in result.warnings)]
    return "\n".join(map(one_line, lines))


def in_short(result: GateResult) -> str:
    """Says the same in one line without figures: the reason of a test that is skipped."""
    said = "; ".join(dict.fromkeys(map(_headline, _broken(result)[:LISTED])))
    return one_line(said) or "nothing was judged: there is no limit"


def accepted_in_words(proposal: Proposal) -> str:
    """Says what a baseline that was accepted changes, every figure of it."""
    changes = []
    for name, before, now in proposal.changes():
        if name in METRICS and now is not None and before != now:
            was = "" if proposal.before is None else f" (was {value_in_words(METRICS[name], before)})"
            changes.append(f"{name} {value_in_words(METRICS[name], now)}{was}")
    return f"{proposal.place}, by {proposal.baseline.accepted.by}: {', '.join(changes) or 'no figure changed'}"


def properties(result: GateResult) -> list[tuple[str, str]]:
    """Returns every number as a name and a value, for the test's `<properties>`."""
    subject = result.subject
    found = [("edgexfer.bundle", subject.bundle), ("edgexfer.digest", subject.digest)]
    found += [("edgexfer.machine_class", result.machine_class), ("edgexfer.baseline", result.baseline)]
    for verdict in result.verdicts:
        name = f"edgexfer.{verdict.limit.key}"
        found += [(name, verdict.outcome), (f"{name}.limit", _exact(verdict.limit.value))]
        for part in ("value", "reference", "change", "low", "high"):
            if (number := getattr(verdict, part)) is not None:
                found.append((f"{name}.{part}", _exact(number)))
        found += [(f"{name}.{key}", _exact(number)) for key, number in verdict.evidence.items()]
    return [(one_line(name), one_line(text)) for name, text in found if text]


def section(entries: Sequence[Entry]) -> Iterator[tuple[str, str]]:
    """Yields the lines of the terminal's section, each with the name of its colour ("" for none)."""
    for line, colour in _section(entries):
        yield one_line(line), colour


def write_gates(entries: Sequence[Entry], place: Path) -> None:
    """Writes what the module's docstring describes.

    Raises:
        EdgexferError: `place` cannot be written.
    """
    results = [entry for entry in entries if "gate" in entry]
    errors = [{"test": entry["test"], "error": one_line(entry["error"])} for entry in entries if "error" in entry]
    found = {entry["gate"]["summary"]["outcome"] for entry in results}
    outcome: Outcome = "fail" if "fail" in found else "pass" if found == {"pass"} and not errors else "inconclusive"
    summary: dict[str, Any] = {"outcome": outcome, "exit_code": EXIT_CODES[outcome]}
    outcomes = [verdict["outcome"] for entry in results for verdict in entry["gate"]["verdicts"]]
    summary |= {name: outcomes.count(name) for name in EXIT_CODES}
    record = {"kind": "gates", "format_version": FORMAT_VERSION, "summary": summary, "results": results}
    record |= {"errors": errors}
    text = json.dumps(record, indent=2, ensure_ascii=False, allow_nan=False) + "\n"
    # A file's name on Linux is bytes; those that are not UTF-8 become escapes, which JSON can hold.
    write_file(place, text.encode("utf-8", "backslashreplace"))


def _section(entries: Sequence[Entry]) -> Iterator[tuple[str, str]]:
    heading = ""
    for entry in entries:
        if "gate" in entry:
            result = gate_result_from_json(entry["gate"], entry["test"])
            if (judged := _heading(result)) != heading:
                yield judged, ""
                heading = judged
            shown = _listed(result.verdicts)
            for verdict in shown:
                yield f"  {_line(verdict)}", COLOURS[verdict.outcome]
            if rest := len(result.verdicts) - len(shown):
                yield f"  and {rest} more of single classes, none of them worse", ""
    for text in dict.fromkeys(entry["accepted"] for entry in entries if "accepted" in entry):
        yield f"accepted: {text}", "yellow"
    skipped = [entry["skipped"] for entry in entries if "skipped" in entry]
    for text in dict.fromkeys(skipped):
        yield f"not judged: {text}", "yellow"
    if len(skipped) == len(entries):
        yield "nothing was judged, which is no success", "red"
    for entry in entries:
        if "error" in entry:
            at = f"{entry['test']}: " if entry["test"] else ""
            yield f"error: {at}{entry['error']}", "red"


def _heading(result: GateResult) -> str:
    subject = result.subject
    against = f", against {result.baseline}" if result.baseline else ""
    # No line begins with what others named: "::stop-commands::x" is an order to GitHub.
    return f"bundle {subject.bundle} ({subject.precision}, {subject.engine}) on {result.machine_class}{against}"


def _broken(result: GateResult) -> list[Verdict]:
    return [verdict for verdict in result.verdicts if verdict.outcome != "pass"]


def _listed(verdicts: Sequence[Verdict]) -> list[Verdict]:
    # A thousand classes are a thousand verdicts: the worst of them are enough, all others are shown.
    of_classes = [verdict for verdict in verdicts if verdict.limit.of.of == "classes"]
    worst = sorted(of_classes, key=lambda one: _ORDER.index(one.outcome))[:LISTED]
    return [verdict for verdict in verdicts if verdict.limit.of.of != "classes" or verdict in worst]


def _headline(verdict: Verdict) -> str:
    said = "does not hold" if verdict.outcome == "fail" else "is inconclusive"
    return f"{verdict.limit.subject} {said}: {verdict.reason}"


def _figures(verdict: Verdict) -> str:
    metric, figures = verdict.limit.of, []
    if verdict.value is not None:
        figures.append(value_in_words(metric, verdict.value))
    if verdict.reference is not None:
        than = "float" if verdict.limit.kind == "max_drop" else "baseline"
        figures.append(f"{than} {value_in_words(metric, verdict.reference)}")
    if (change := change_in_words(verdict)) and change not in verdict.reason:
        figures.append(f"change {change}")
    elif (interval := interval_in_words(verdict)) and not change and interval not in verdict.reason:
        figures.append(f"interval {interval}")
    return ", ".join([*figures, f"limit: {limit_in_words(verdict.limit)}"])


def _line(verdict: Verdict) -> str:
    limit = verdict.limit
    figures = (value_in_words(limit.of, verdict.value), change_in_words(verdict), f"limit: {limit_in_words(limit)}")
    return f"{verdict.outcome:<12} {limit.subject:<24} {', '.join(filter(None, figures))}"


def _flips(flips: Sequence[Flip]) -> list[str]:
    # What was lost comes first: that is what made it fail.
    ordered = sorted(flips, key=lambda flip: (flip.kind != "lost", flip.kind))
    lines = [f"{flip.path}: {flip.label}, was {flip.before}, now {flip.after} ({flip.kind})" for flip in ordered]
    rest = [f"and {len(lines) - FLIPS} more images changed"] if len(lines) > FLIPS else []
    return lines[:FLIPS] + rest


def _exact(value: Any) -> str:
    return repr(value) if isinstance(value, float) else str(value)
