from __future__ import annotations

import json

import pytest

from edgexfer.gate.judge.verdict import gate_result_from_json
from tests.gate.output.results import fixed_result
from tests.golden.make_gate import GOLDEN, every_form


@pytest.mark.parametrize("name", sorted(every_form(fixed_result())))
def test_every_form_of_a_result_reads_as_it_did(name: str) -> None:
    assert every_form(fixed_result())[name] == (GOLDEN / name).read_text(encoding="utf-8")


def test_the_json_is_read_back_as_the_result_that_it_was() -> None:
    record = json.loads((GOLDEN / "gate.json").read_bytes())
    assert record["format_version"] == 1
    assert record["summary"] == {"outcome": "fail", "exit_code": 1, "pass": 3, "fail": 2, "inconclusive": 1}
    assert gate_result_from_json(record, "gate.json") == fixed_result()
