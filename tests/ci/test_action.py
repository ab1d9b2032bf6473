"""The GitHub Action: its steps run in bash as the runner runs them, with what the runner sets."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest

from tests.ci.conftest import HOSTILE, ROOT, bundle

yaml = pytest.importorskip("yaml", reason="PyYAML is not installed (pip install 'edgexfer[dev]')")
pytestmark = pytest.mark.skipif(not (ROOT / "action.yml").is_file(), reason="not run from a checkout")


@dataclass(frozen=True)
class Ran:
    """What a step did."""

    code: int
    said: str
    outputs: dict[str, str]
    summary: str


class Runner:
    """Runs steps of the action, each in a fresh bash."""

    def __init__(self, folder: Path, workspace: Path, environment: dict[str, str]) -> None:
        self.action = yaml.safe_load((ROOT / "action.yml").read_text(encoding="utf-8"))
        self.workspace = workspace
        self._files = {name: folder / name.lower() for name in ("GITHUB_OUTPUT", "GITHUB_STEP_SUMMARY", "GITHUB_PATH")}
        for file in self._files.values():
            file.write_text("")
        self._files["GITHUB_STEP_SUMMARY"].write_text("# an earlier step's\n")
        (folder / "runner").mkdir()
        self.environment = {
            **environment,
            "RUNNER_TEMP": str(folder / "runner"),
            "GITHUB_ACTIONS": "true",
            "CI": "true",
        }

    def step(self, name: str, **inputs: str) -> Ran:
        """Runs the step `name` with these inputs; the rest have their defaults."""
        (step,) = (step for step in self.action["runs"]["steps"] if step["name"] == name)
        given = {key: str(declared.get("default", "")) for key, declared in self.action["inputs"].items()}
        assert inputs.keys() <= given.keys()
        known = {f"inputs.{key}": value for key, value in (given | inputs).items()} | {"github.action_path": str(ROOT)}
        own = {
            key: re.sub(r"\$\{\{ (.+?) \}\}", lambda found: known[found[1]], text) for key, text in step["env"].items()
        }
        script = self._files["GITHUB_OUTPUT"].with_name("step.sh")
        script.write_text(step["run"])
        files = {name: str(path) for name, path in self._files.items()}
        done = subprocess.run(
            ["bash", "--noprofile", "--norc", "-eo", "pipefail", str(script)],
            cwd=self.workspace,
            env={**self.environment, **files, **own},
            capture_output=True,
            text=True,
            check=False,
        )
        lines = self._files["GITHUB_OUTPUT"].read_text().splitlines()
        outputs = dict(line.split("=", 1) for line in lines)
        return Ran(done.returncode, done.stdout + done.stderr, outputs, self._files["GITHUB_STEP_SUMMARY"].read_text())

    @property
    def paths(self) -> list[str]:
        """What was added to the PATH of later steps."""
        return self._files["GITHUB_PATH"].read_text().split()


@pytest.fixture
def runner(tmp_path: Path, workspace: Path, environment: dict[str, str]) -> Runner:
    return Runner(tmp_path, workspace, environment)


def test_a_passing_gate_writes_everything_and_ends_with_0(runner: Runner) -> None:
    ran = runner.step("Gate", bundle="signs.edgx", baseline="signs.edgx")
    assert ran.code == 0, ran.said
    assert ran.outputs == {
        "outcome": "pass",
        "exit-code": "0",
        "junit": "edgexfer-gate/junit.xml",
        "json": "edgexfer-gate/gate.json",
        "markdown": "edgexfer-gate/summary.md",
    }
    out = runner.workspace / "edgexfer-gate"
    assert json.loads((out / "gate.json").read_text())["summary"]["outcome"] == "pass"
    assert ET.parse(out / "junit.xml").find(".//testcase") is not None  # noqa: S314 - we wrote it
    assert ran.summary == "# an earlier step's\n" + (out / "summary.md").read_text()
    assert "signs" in ran.summary
    assert "::notice" in ran.said


def test_a_failing_gate_ends_with_1_and_annotates(runner: Runner) -> None:
    limits = "\nsize_bytes.max=100\n  \nsize_bytes.max_regress=off\n"
    ran = runner.step("Gate", bundle="signs.edgx", set=limits, out="some where/else")
    assert (ran.code, ran.outputs["outcome"], ran.outputs["exit-code"]) == (1, "fail", "1")
    assert ran.outputs["json"] == "some where/else/gate.json"
    assert "::error" in ran.said
    verdicts = json.loads((runner.workspace / ran.outputs["json"]).read_text())["verdicts"]
    assert [(verdict["limit"]["kind"], verdict["outcome"]) for verdict in verdicts] == [("max", "fail")]


def test_an_inconclusive_gate_ends_with_3_or_with_a_warning(runner: Runner) -> None:
    ran = runner.step("Gate", bundle="signs.edgx")  # its size has no baseline
    assert (ran.code, ran.outputs["outcome"], ran.outputs["exit-code"]) == (3, "inconclusive", "3")
    ran = runner.step("Gate", bundle="signs.edgx", inconclusive="warn")
    assert (ran.code, ran.outputs["outcome"], ran.outputs["exit-code"]) == (0, "inconclusive", "3")
    assert "::warning title=edgexfer gate::inconclusive" in ran.said


def test_warn_lets_no_failure_pass(runner: Runner) -> None:
    ran = runner.step("Gate", bundle="signs.edgx", inconclusive="warn", set="size_bytes.max=100")
    assert (ran.code, ran.outputs["outcome"]) == (1, "fail")


@pytest.mark.parametrize(
    "inputs",
    [
        {"bundle": "gone.edgx"},
        {"bundle": ""},
        {"bundle": "signs.edgx", "inconclusive": "pass"},
        {"bundle": "signs.edgx", "report": "yes"},
        {"bundle": "signs.edgx", "out": "a\noutcome=pass"},
        {"bundle": "signs.edgx", "set": "size.max=1"},
        {"bundle": "signs.edgx", "seconds": "soon"},
        {"bundle": "signs.edgx", "baseline": "gone.json"},
        {"bundle": "--help"},
    ],
    ids=lambda inputs: " ".join(f"{key}={value!r}" for key, value in inputs.items()),
)
def test_a_mistake_ends_with_2_whatever_an_earlier_run_left(runner: Runner, inputs: dict[str, str]) -> None:
    stale = runner.workspace / "edgexfer-gate" / "summary.md"
    stale.parent.mkdir()
    stale.write_text("everything passed\n")
    ran = runner.step("Gate", **inputs)
    assert ran.code == 2, ran.said
    assert ran.outputs["outcome"] == "error"
    assert "everything passed" not in ran.summary


@pytest.mark.parametrize("name", ["bundle", "baseline", "data", "set", "seconds", "inconclusive", "report", "out"])
def test_no_input_is_ever_run(runner: Runner, name: str) -> None:
    ran = runner.step("Gate", **{"bundle": "signs.edgx", name: HOSTILE})
    assert ran.code != 0 or name == "out"
    assert not list(runner.workspace.parent.rglob("pwned"))


@pytest.mark.parametrize("name", ["version", "extras", "python"])
def test_no_input_of_the_installation_is_ever_run(runner: Runner, name: str) -> None:
    standin = runner.workspace.parent / "python"
    standin.write_text(
        '#!/bin/sh\nmkdir -p "$3/bin"\nprintf \'#!/bin/sh\\nexit 7\\n\' > "$3/bin/python"\nchmod +x "$3/bin/python"\n'
    )
    standin.chmod(0o755)
    ran = runner.step("Install edgexfer", **{"python": str(standin), name: HOSTILE})
    assert ran.code != 0
    assert not list(runner.workspace.parent.rglob("pwned"))
    assert runner.paths == []


def test_what_is_installed_already_is_used(runner: Runner) -> None:
    ran = runner.step("Install edgexfer", version="none")
    assert ran.code == 0
    assert ran.said.startswith("edgexfer ")
    assert runner.paths == []


@pytest.mark.slow
def test_the_actions_own_sources_are_installed(runner: Runner) -> None:
    runner.environment["PIP_CONSTRAINT"] = str(ROOT / "constraints.txt")
    ran = runner.step("Install edgexfer", extras="", python=sys.executable)
    assert ran.code == 0, ran.said
    (added,) = runner.paths
    assert (Path(added) / "edgexfer").is_file()
    runner.environment["PATH"] = f"{added}:{runner.environment['PATH']}"
    ran = runner.step("Gate", bundle="signs.edgx", baseline="signs.edgx")
    assert (ran.code, ran.outputs["outcome"]) == (0, "pass"), ran.said


def test_no_script_holds_an_expression_and_no_other_action_is_used(runner: Runner) -> None:
    steps = runner.action["runs"]["steps"]
    assert runner.action["runs"]["using"] == "composite"
    for step in steps:
        assert "uses" not in step
        assert step["shell"] == "bash"
        assert "${{" not in step["run"]
        assert step["run"].startswith("set -euo pipefail\n")
    used = set(re.findall(r"inputs\.([a-z-]+)", json.dumps(steps)))
    assert used == set(runner.action["inputs"])


def test_every_output_is_one_that_the_step_writes(runner: Runner) -> None:
    script = next(step["run"] for step in runner.action["runs"]["steps"] if step.get("id") == "gate")
    for name, declared in runner.action["outputs"].items():
        assert declared["value"] == f"${{{{ steps.gate.outputs.{name} }}}}"
        assert re.search(rf'"{name}=|\b{name}\b.*; do', script), name


def test_a_limit_inside_the_bundle_holds_too(runner: Runner, workspace: Path) -> None:
    bundle(workspace / "strict", max=100)
    ran = runner.step("Gate", bundle="strict/signs.edgx", baseline="strict/signs.edgx")
    assert (ran.code, ran.outputs["outcome"]) == (1, "fail")


def test_shellcheck_finds_nothing(runner: Runner) -> None:
    program = Path(sys.executable).parent / "shellcheck"
    if not program.is_file():
        pytest.skip("shellcheck is not installed (pip install 'edgexfer[dev]')")
    for step in runner.action["runs"]["steps"]:
        # SC2153 takes two inputs for one that is misspelled: they come from the environment.
        done = subprocess.run(
            [str(program), "--shell=bash", "--exclude=SC2153", "-"],
            input=step["run"],
            capture_output=True,
            text=True,
            check=False,
        )
        assert (done.returncode, done.stdout) == (0, ""), step["name"]
