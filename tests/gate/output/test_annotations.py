from __future__ import annotations

import re
from dataclasses import replace

from hypothesis import given, settings

from edgexfer.gate.judge.verdict import GateResult
from edgexfer.gate.output.annotations import annotation_lines
from edgexfer.gate.output.foreign import one_line
from tests.gate.output.hostile import RESULTS
from tests.gate.output.results import STOP, fixed_result

_COMMAND = re.compile(r"::(error|warning|notice) title=([^:,\r\n]*)::([^\r\n]*)")


def read(text: str) -> list[tuple[str, str, str]]:
    """Returns (command, title, message) of each line, as the runner of GitHub Actions reads them."""
    assert text.endswith("\n")
    found = []
    for line in text.removesuffix("\n").split("\n"):
        match = _COMMAND.fullmatch(line)
        assert match is not None, line
        assert not re.search(r"%(?!25|0D|0A|3A|2C)", match[2] + match[3])
        found.append((match[1], _unescaped(match[2]), _unescaped(match[3])))
    return found


def _unescaped(text: str) -> str:
    for escaped, letter in (("%0D", "\r"), ("%0A", "\n"), ("%3A", ":"), ("%2C", ","), ("%25", "%")):
        text = text.replace(escaped, letter)
    return text


def test_one_line_for_each_that_is_no_pass_failures_first_and_one_that_sums_up() -> None:
    lines = read(annotation_lines(fixed_result()))
    assert [(command, title) for command, title, _ in lines] == [
        ("error", "top1.max_regress: fail"),
        ("error", f"recall:{STOP}.min: fail"),
        ("warning", "top1.max_drop: inconclusive"),
        ("notice", "edgexfer gate: fail"),
    ]
    assert lines[1][2] == "27 of 31 images right: 87.10 %; the limit is at least 90 %"
    assert lines[3][2] == (
        "signs for raspberry-pi-5: 2 fail, 1 inconclusive, 3 pass; 3 images are answered differently"
    )


def test_all_passed_is_one_notice() -> None:
    passed = replace(fixed_result(), verdicts=fixed_result().verdicts[:1], flips=())
    assert read(annotation_lines(passed)) == [("notice", "edgexfer gate: pass", "signs for raspberry-pi-5: 1 pass")]


def test_nothing_judged_is_said() -> None:
    ((_, title, message),) = read(annotation_lines(replace(fixed_result(), verdicts=(), flips=())))
    assert (title, message) == ("edgexfer gate: inconclusive", "signs for raspberry-pi-5: no limit was judged")


@settings(max_examples=100, deadline=None)
@given(RESULTS)
def test_whatever_somebody_called_a_class_there_is_one_line_for_each_verdict(result: GateResult) -> None:
    text = annotation_lines(result)
    text.encode("utf-8")
    lines = read(text)
    told = sorted(verdict.outcome for verdict in result.verdicts if verdict.outcome != "pass")
    commands = {"fail": "error", "inconclusive": "warning"}
    assert [command for command, _, _ in lines] == [*(commands[outcome] for outcome in told), "notice"]
    assert sorted(message for command, _, message in lines if command == "error") == sorted(
        one_line(verdict.reason) for verdict in result.verdicts if verdict.outcome == "fail"
    )
