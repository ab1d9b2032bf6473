"""JUnit XML: a GateResult as a test report that GitLab, Jenkins and GitHub's actions show beside the unit tests.

    <testsuites tests failures errors skipped time>
      <testsuite name="signs for raspberry-pi-5" ...same>
        <properties>                 what was judged, on what
        <testcase classname="edgexfer.gate.signs for raspberry-pi-5" name="top1.max_regress">
          <properties>               every number, at full precision
          <failure type="max_regress" message="..."> | <error type="inconclusive" message="..."> | nothing: passed
          <system-out>               the verdict in words
        <system-out>                 warnings, and the images that flipped

Inconclusive is an <error>, never <skipped>: GitLab, Jenkins and dorny/test-reporter call a run good whose other tests
are skipped (GitLab once counted those as passed, gitlab#29032), while an error is red in each. GitLab shows the text of
<failure> and <error>, not `message`, and ignores the second of two cases of one name. <properties> in a test case
are what pytest writes too; the strict schema of Jenkins' xUnit plugin does not know them there, its JUnit plugin does.
"""

from __future__ import annotations

from collections import Counter
from xml.etree import ElementTree as ET

from edgexfer.gate.judge.verdict import GateResult, Verdict
from edgexfer.gate.output.foreign import one_line
from edgexfer.gate.words import change_in_words, limit_in_words, value_in_words

_FLIPS = 200
_NOTHING = "no limit was judged"


def junit_xml(result: GateResult) -> str:
    """Returns the report, XML 1.0 with a line for each element."""
    counted = result.counted()
    # Nothing judged is inconclusive, and a report without a test case would be green.
    nothing = int(not result.verdicts)
    totals = {
        "tests": str(len(result.verdicts) + nothing),
        "failures": str(counted["fail"]),
        "errors": str(counted["inconclusive"] + nothing),
        "skipped": "0",
        "time": f"{result.seconds:.3f}",
    }
    name = one_line(f"{result.subject.bundle} for {result.subject.target}")
    root = ET.Element("testsuites", {"name": "edgexfer gate", **totals})
    suite = ET.SubElement(root, "testsuite", {"name": name, **totals})
    _properties(suite, _facts(result))
    seen: Counter[str] = Counter()
    for verdict in result.verdicts:
        seen[verdict.limit.key] += 1
        again = f" ({seen[verdict.limit.key]})" if seen[verdict.limit.key] > 1 else ""
        _case(suite, verdict, one_line(verdict.limit.key) + again, f"edgexfer.gate.{name}")
    if nothing:
        case = ET.SubElement(suite, "testcase", {"classname": f"edgexfer.gate.{name}", "name": "limits", "time": "0"})
        ET.SubElement(case, "error", {"type": "inconclusive", "message": _NOTHING}).text = _NOTHING
    lines = [*(f"warning: {warning}" for warning in result.warnings), *_flips(result)]
    if lines:
        ET.SubElement(suite, "system-out").text = "\n".join(one_line(line) for line in lines)
    ET.indent(root)
    return f'<?xml version="1.0" encoding="utf-8"?>\n{ET.tostring(root, encoding="unicode")}\n'


def _case(suite: ET.Element, verdict: Verdict, name: str, classname: str) -> None:
    # The verdicts of one gate share their measurements: none has a time of its own.
    case = ET.SubElement(suite, "testcase", {"classname": classname, "name": name, "time": "0"})
    _properties(case, _numbers(verdict))
    words = _words(verdict)
    if verdict.outcome != "pass":
        failed = verdict.outcome == "fail"
        kind = verdict.limit.kind if failed else "inconclusive"
        told = ET.SubElement(
            case, "failure" if failed else "error", {"type": kind, "message": one_line(verdict.reason)}
        )
        told.text = words
    ET.SubElement(case, "system-out").text = words


def _properties(parent: ET.Element, pairs: dict[str, object]) -> None:
    element = ET.SubElement(parent, "properties")
    for name, value in pairs.items():
        if value is not None and value != "":
            shown = str(value).lower() if isinstance(value, bool) else str(value)
            ET.SubElement(element, "property", {"name": one_line(name), "value": one_line(shown)})


def _facts(result: GateResult) -> dict[str, object]:
    subject = result.subject
    return {
        "outcome": result.outcome,
        "exit_code": result.exit_code,
        "bundle": subject.bundle,
        "digest": subject.digest,
        "precision": subject.precision,
        "target": subject.target,
        "engine": subject.engine,
        "simulated": subject.simulated,
        "baseline": result.baseline,
        "baseline_digest": result.baseline_digest,
        "machine_class": result.machine_class,
        "data": result.data,
        "flips": len(result.flips),
    }


def _numbers(verdict: Verdict) -> dict[str, object]:
    limit = verdict.limit
    return {
        "outcome": verdict.outcome,
        "metric": limit.metric,
        "label": limit.label,
        "unit": limit.of.unit or "fraction",
        "limit_kind": limit.kind,
        "limit": limit.value,
        "limit_is_relative": limit.relative,
        "set_by": limit.source,
        "value": verdict.value,
        "reference": verdict.reference,
        "change": verdict.change,
        "low": verdict.low,
        "high": verdict.high,
        **{f"evidence.{name}": value for name, value in verdict.evidence.items()},
    }


def _words(verdict: Verdict) -> str:
    limit = verdict.limit
    figures = [f"value {value_in_words(limit.of, verdict.value)}"]
    if verdict.reference is not None:
        figures.append(f"reference {value_in_words(limit.of, verdict.reference)}")
    if verdict.change is not None:
        figures.append(f"change {change_in_words(verdict)}")
    asked = f"limit: {limit_in_words(limit)}" + (f" (set by {limit.source})" if limit.source else "")
    return "\n".join(one_line(line) for line in (f"{verdict.outcome}: {verdict.reason}", ", ".join(figures), asked))


def _flips(result: GateResult) -> list[str]:
    lines = [f"{f.kind}: {f.path} is {f.label}: {f.before} before, {f.after} now" for f in result.flips[:_FLIPS]]
    more = len(result.flips) - _FLIPS
    return lines + ([f"and {more} more images"] if more > 0 else [])
