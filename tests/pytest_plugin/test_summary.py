"""What a run says of its gates: golden text, and nothing that somebody else's labels and paths could break."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path

from hypothesis import given, settings

from edgexfer.gate.judge.limits import Limit
from edgexfer.gate.judge.verdict import GateResult, Verdict
from edgexfer.pytest_plugin.summary import LISTED, explained, in_short, properties, section, write_gates
from tests.gate.output.hostile import RESULTS
from tests.gate.output.results import fixed_result
from tests.golden.make_pytest import GOLDEN, every_form

_BREAKS = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\ud800-\udfff]")


def test_the_text_reads_as_it_did() -> None:
    for name, text in every_form(fixed_result()).items():
        assert text == (GOLDEN / name).read_text(encoding="utf-8")


def test_a_thousand_classes_are_not_a_thousand_lines() -> None:
    names = [f"class {number}" for number in range(1000)]
    verdicts = [
        Verdict(Limit("recall", "min", 0.5, label=name), "fail" if name == "class 990" else "pass", "why", 0.4)
        for name in names
    ]
    result = replace(fixed_result(), verdicts=(*verdicts, *fixed_result().verdicts), flips=())
    lines = [line for line, _ in section([{"test": "t", "gate": result.to_json()}])]
    assert len(lines) == 1 + LISTED + 6 - 1 + 1
    assert sum("recall:class 990 " in line for line in lines) == 1
    assert sum("recall:stop" in line for line in lines) == 1
    assert lines[-1] == f"  and {1001 - LISTED} more of single classes, none of them worse"
    failed = replace(result, verdicts=tuple(replace(verdict, outcome="fail") for verdict in verdicts))
    text = explained(failed).splitlines()
    assert text[2 * LISTED] == f"and {1000 - LISTED} more, which --edgexfer-json lists"
    assert len(text) == 2 * LISTED + 3


@settings(max_examples=60, deadline=None)
@given(result=RESULTS)
def test_no_label_path_or_name_breaks_a_line(result: GateResult) -> None:
    lines = explained(result).split("\n")
    broken = [verdict for verdict in result.verdicts if verdict.outcome != "pass"]
    assert len(lines) <= 2 * len(broken) + 8 + len(result.warnings)
    shown = [*lines, in_short(result)]
    # As it arrives from another process: JSON in between.
    entry = json.loads(json.dumps({"test": "t", "gate": result.to_json()}))
    shown += [line for line, _ in section([entry])]
    shown += [text for pair in properties(result) for text in pair]
    assert [line for line in shown if _BREAKS.search(line)] == []


@settings(max_examples=20, deadline=None)
@given(result=RESULTS)
def test_the_record_can_always_be_written(result: GateResult, tmp_path_factory: object) -> None:
    place = Path(tmp_path_factory.getbasetemp()) / "gates.json"  # type: ignore[attr-defined]
    write_gates([{"test": "t", "gate": result.to_json()}, {"test": "u", "skipped": "why"}], place)
    record = json.loads(place.read_bytes())
    assert [entry["test"] for entry in record["results"]] == ["t"]
    assert sum(record["summary"][name] for name in ("pass", "fail", "inconclusive")) == len(result.verdicts)
    assert record["summary"]["outcome"] == result.outcome


def test_a_run_that_judged_nothing_is_inconclusive(tmp_path: Path) -> None:
    write_gates([], tmp_path / "gates.json")
    assert json.loads((tmp_path / "gates.json").read_text())["summary"] == {
        "outcome": "inconclusive", "exit_code": 3, "pass": 0, "fail": 0, "inconclusive": 0,
    }  # fmt: skip


def test_a_result_without_verdicts_is_no_pass_beside_one_that_is(tmp_path: Path) -> None:
    held = replace(fixed_result(), verdicts=fixed_result().verdicts[:0])
    passed = replace(held, verdicts=tuple(v for v in fixed_result().verdicts if v.outcome == "pass"))
    for results, outcome in (([passed], "pass"), ([passed, held], "inconclusive")):
        write_gates([{"test": "t", "gate": result.to_json()} for result in results], tmp_path / "gates.json")
        assert json.loads((tmp_path / "gates.json").read_text())["summary"]["outcome"] == outcome


def test_no_line_begins_with_the_name_of_a_bundle() -> None:
    order = "::stop-commands::x"
    result = replace(fixed_result(), subject=replace(fixed_result().subject, bundle=order))
    lines = [line for line, _ in section([{"test": "t", "gate": result.to_json()}])] + explained(result).splitlines()
    assert any(order in line for line in lines)
    assert not [line for line in lines if line.strip().startswith("::")]
