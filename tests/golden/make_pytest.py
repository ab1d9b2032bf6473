"""Writes pytest/ beside itself: what a test says of one result, in the terminal and in JUnit XML.

python -m tests.golden.make_pytest
"""

from __future__ import annotations

from pathlib import Path

from edgexfer.gate.judge.verdict import GateResult
from edgexfer.pytest_plugin.summary import explained, in_short, properties, section
from tests.gate.output.results import fixed_result

GOLDEN = Path(__file__).parent / "pytest"


def every_form(result: GateResult) -> dict[str, str]:
    """Returns the text of each file by its name."""
    entries = [
        {"test": "test_model.py::test_all", "gate": result.to_json()},
        {"test": "test_model.py::test_jetson", "skipped": "jet.edgx was made for jetson-orin-nano, not for this"},
        {"test": "test_model.py::test_new", "accepted": "baselines/signs.json, by Ada: size_bytes 3.81 MB"},
    ]
    return {
        "failed.txt": explained(result) + "\n",
        "skipped.txt": in_short(result) + "\n",
        "section.txt": "".join(f"{colour:<7}|{line}\n" for line, colour in section(entries)),
        "properties.txt": "".join(f"{name} = {value}\n" for name, value in properties(result)),
    }


if __name__ == "__main__":
    GOLDEN.mkdir(exist_ok=True)
    for name, text in every_form(fixed_result()).items():
        (GOLDEN / name).write_text(text, encoding="utf-8")
