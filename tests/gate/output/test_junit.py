from __future__ import annotations

from dataclasses import replace
from xml.etree import ElementTree as ET

import pytest
from hypothesis import given, settings

from edgexfer.gate.judge.verdict import GateResult
from edgexfer.gate.output.foreign import one_line
from edgexfer.gate.output.junit import junit_xml
from tests.gate.output.hostile import RESULTS
from tests.gate.output.results import STOP, fixed_result

# What Ant's, Jenkins' and pytest's reports have in common: the children and the attributes of each element.
_SHAPE = {
    "testsuites": ({"testsuite"}, {"name", "tests", "failures", "errors", "skipped", "time"}),
    "testsuite": (
        {"properties", "testcase", "system-out"},
        {"name", "tests", "failures", "errors", "skipped", "time"},
    ),
    "testcase": ({"properties", "failure", "error", "system-out"}, {"classname", "name", "time"}),
    "properties": ({"property"}, set[str]()),
    "property": (set[str](), {"name", "value"}),
    "failure": (set[str](), {"type", "message"}),
    "error": (set[str](), {"type", "message"}),
    "system-out": (set[str](), set[str]()),
}


def check_shape(element: ET.Element) -> None:
    children, attributes = _SHAPE[element.tag]
    assert {child.tag for child in element} <= children
    assert set(element.attrib) == attributes
    for child in element:
        check_shape(child)


def read(result: GateResult) -> ET.Element:
    """Parses the report as its bytes stand in a file."""
    return ET.fromstring(junit_xml(result).encode("utf-8"))  # noqa: S314 - our own


def properties(element: ET.Element) -> dict[str, str]:
    return {one.attrib["name"]: one.attrib["value"] for one in element.iterfind("properties/property")}


def test_every_verdict_is_a_case_and_what_is_open_is_no_pass() -> None:
    suites = read(fixed_result())
    (suite,) = suites
    cases = suite.findall("testcase")
    assert [[child.tag for child in case if child.tag in ("failure", "error", "skipped")] for case in cases] == [
        [], ["failure"], ["failure"], ["error"], [], [],
    ]  # fmt: skip
    for element in (suites, suite):
        assert [element.attrib[name] for name in ("tests", "failures", "errors", "skipped")] == ["6", "2", "1", "0"]
    told = cases[3].find("error")
    assert told is not None
    assert told.attrib["message"] == fixed_result().verdicts[3].reason
    assert told.text is not None
    assert told.attrib["message"] in told.text  # GitLab shows the text alone


def test_every_number_is_there_at_full_precision() -> None:
    result = fixed_result()
    for verdict, case in zip(result.verdicts, read(result).iterfind("testsuite/testcase"), strict=True):
        found = properties(case)
        for name in ("value", "reference", "change", "low", "high"):
            number = getattr(verdict, name)
            assert (found.get(name) is None) == (number is None)
            assert number is None or float(found[name]) == number
        assert float(found["limit"]) == verdict.limit.value
        assert {n.removeprefix("evidence."): float(v) for n, v in found.items() if n.startswith("evidence.")} == {
            name: float(value) for name, value in verdict.evidence.items()
        }
        assert found.get("label") == verdict.limit.label


def test_the_words_name_the_limit_and_who_set_it() -> None:
    out = read(fixed_result()).findall("testsuite/testcase/system-out")
    assert out[0].text is not None
    assert out[0].text.splitlines() == [
        "pass: -1.2 % (-2.0 to -0.4) in 40 turns",
        "value 4.71 ms, reference 4.77 ms, change -1.2 % (-2.0 to -0.4)",
        "limit: at most 2 % slower than the baseline (set by standard)",
    ]


def test_labels_are_what_they_were_after_reading() -> None:
    case = read(fixed_result()).findall("testsuite/testcase")[2]
    assert case.attrib["name"] == f"recall:{STOP}.min"


def test_nothing_judged_is_an_error_and_no_empty_green_report() -> None:
    suites = read(replace(fixed_result(), verdicts=()))
    assert (suites.attrib["tests"], suites.attrib["errors"]) == ("1", "1")
    assert suites.find("testsuite/testcase/error") is not None


def test_two_limits_of_one_name_are_two_cases() -> None:
    # GitLab ignores the second of two cases of one name: "recall" is for every class, and may name one again.
    result = fixed_result()
    names = [
        case.attrib["name"]
        for case in read(replace(result, verdicts=(result.verdicts[1], result.verdicts[1]))).iterfind("*/testcase")
    ]
    assert names == ["top1.max_regress", "top1.max_regress (2)"]


@settings(max_examples=100, deadline=None)
@given(RESULTS)
def test_whatever_somebody_called_a_class_the_report_can_be_read(result: GateResult) -> None:
    suites = read(result)
    check_shape(suites)
    cases = suites.findall("testsuite/testcase")
    assert len(cases) == max(1, len(result.verdicts))
    outcomes = [
        "fail" if case.find("failure") is not None else "inconclusive" if case.find("error") is not None else "pass"
        for case in cases
    ]
    assert outcomes == ([verdict.outcome for verdict in result.verdicts] or ["inconclusive"])
    assert len({case.attrib["name"] for case in cases}) == len(cases)


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("plain é 標識", "plain é 標識"),
        ("a\r\n\tb\u2028c\x85d", "a b c d"),
        ("\x00\x1b[31m\udcff\ufffe", "\ufffd\ufffd[31m\ufffd\ufffd"),
        ("\u202eliaf", "\ufffdliaf"),
    ],
)
def test_foreign_text_is_one_line_that_can_be_written(text: str, line: str) -> None:
    assert one_line(text) == line
    assert len(line.splitlines()) == 1
    line.encode("utf-8")
