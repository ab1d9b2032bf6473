"""Writes gate/ beside itself: every file that `edgexfer gate` makes of one result.

    python -m tests.golden.make_gate

Run it where the text for people changes. `gate.json` is format_version 1 and never changes: what is there must be read.
"""

from __future__ import annotations

import json
from pathlib import Path

from edgexfer.gate.judge.verdict import GateResult
from edgexfer.gate.output.annotations import annotation_lines
from edgexfer.gate.output.junit import junit_xml
from edgexfer.gate.output.markdown import markdown_summary
from tests.gate.output.results import fixed_result

GOLDEN = Path(__file__).parent / "gate"


def every_form(result: GateResult) -> dict[str, str]:
    """Returns the text of each file by its name."""
    return {
        "gate.json": json.dumps(result.to_json(), indent=2, ensure_ascii=False, allow_nan=False) + "\n",
        "junit.xml": junit_xml(result),
        "summary.md": markdown_summary(result),
        "annotations.txt": annotation_lines(result),
    }


if __name__ == "__main__":
    GOLDEN.mkdir(exist_ok=True)
    for name, text in every_form(fixed_result()).items():
        (GOLDEN / name).write_text(text, encoding="utf-8")
