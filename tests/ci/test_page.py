"""docs/gates-in-ci.md keeps its word: its YAML is read, and what it sets exists in the action, template and plugin."""

from __future__ import annotations

import re
from typing import Any

import pytest

from edgexfer.gate.judge.limits import parse_limit
from tests.ci.conftest import ROOT
from tests.ci.test_gitlab import accepted, declared

yaml = pytest.importorskip("yaml", reason="PyYAML is not installed (pip install 'edgexfer[dev]')")
PAGE = ROOT / "docs" / "gates-in-ci.md"
pytestmark = pytest.mark.skipif(not PAGE.is_file() or not (ROOT / "action.yml").is_file(), reason="not from a checkout")


def examples() -> list[Any]:
    text = PAGE.read_text(encoding="utf-8")
    return [yaml.safe_load(block) for block in re.findall(r"^```yaml\n(.*?)^```", text, re.MULTILINE | re.DOTALL)]


def test_the_workflow_sets_inputs_and_limits_that_exist() -> None:
    (workflow,) = (example for example in examples() if "jobs" in example)
    (step,) = (step for step in workflow["jobs"]["gate"]["steps"] if step.get("id") == "gate")
    known = yaml.safe_load((ROOT / "action.yml").read_text(encoding="utf-8"))
    assert step["with"].keys() <= known["inputs"].keys()
    for line in step["with"]["set"].splitlines():
        assert parse_limit(*line.split("="), "the page") is not None
    named = set(re.findall(r"^Outputs: (.+?)\.$", PAGE.read_text(encoding="utf-8"), re.MULTILINE)[0].split("`")[1::2])
    assert known["outputs"].keys() <= named


def test_the_include_sets_inputs_that_gitlab_takes() -> None:
    (example,) = (example for example in examples() if "include" in example)
    (include,) = example["include"]
    assert (ROOT / include["file"]).is_file()
    assert include["inputs"].keys() <= declared().keys()
    for name, value in include["inputs"].items():
        assert not isinstance(value, str) or accepted(name, value)
    for limit in include["inputs"]["set"].split():
        assert parse_limit(*limit.split("="), "the page") is not None


def test_every_option_of_the_plugin_is_there_and_no_other() -> None:
    source = (ROOT / "edgexfer" / "pytest_plugin" / "options.py").read_text(encoding="utf-8")
    names = set(re.findall(r'^    "([a-z]+)": \(', source, re.MULTILINE)) | {"update-baselines", "why"}
    assert names == set(re.findall(r"--edgexfer-([a-z]+(?:-[a-z]+)?)", PAGE.read_text(encoding="utf-8")))
