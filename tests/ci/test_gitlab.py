"""The template for GitLab CI: its inputs are pasted as GitLab does, its scripts run in a plain shell."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.ci.conftest import HOSTILE, ROOT

yaml = pytest.importorskip("yaml", reason="PyYAML is not installed (pip install 'edgexfer[dev]')")
TEMPLATE = ROOT / "ci" / "gitlab" / "edgexfer-gate.yml"
pytestmark = pytest.mark.skipif(not TEMPLATE.is_file(), reason="not run from a checkout")


def declared() -> dict[str, dict[str, Any]]:
    """The template's inputs."""
    header = TEMPLATE.read_text(encoding="utf-8").split("\n---\n")[0]
    inputs: dict[str, dict[str, Any]] = yaml.safe_load(header)["spec"]["inputs"]
    return inputs


def accepted(name: str, value: str) -> bool:
    """Whether GitLab takes this value for an input."""
    rule = declared()[name]
    return value in rule["options"] if "options" in rule else re.fullmatch(rule["regex"], value) is not None


def job(**given: Any) -> dict[str, Any]:
    """The job as GitLab makes it: values are pasted into the text, which is then read."""
    values = {name: rule.get("default") for name, rule in declared().items()} | given
    for name, value in values.items():
        assert not isinstance(value, str) or accepted(name, value), f"{name}: {value}"

    def pasted(found: re.Match[str]) -> str:
        value = values[found[1]]
        return value if isinstance(value, str) else json.dumps(value)

    body = TEMPLATE.read_text(encoding="utf-8").split("\n---\n")[1]
    ((_, made),) = yaml.safe_load(re.sub(r"\$\[\[ inputs\.([a-z]+) \]\]", pasted, body)).items()
    result: dict[str, Any] = made
    return result


def run(made: dict[str, Any], folder: Path, environment: dict[str, str], **variables: str) -> tuple[int, str]:
    """Runs the job's scripts one after the other in one shell, as a runner does."""
    script = "\n".join(["set -e", *made["before_script"], *made["script"]])
    done = subprocess.run(
        ["sh", "-c", script],
        cwd=folder,
        env={**environment, "CI": "true", **made["variables"], **variables},
        capture_output=True,
        text=True,
        check=False,
    )
    return done.returncode, done.stdout + done.stderr


@pytest.mark.parametrize(
    ("inputs", "code", "outcome"),
    [
        ({"baseline": "signs.edgx"}, 0, "pass"),
        ({"set": "size_bytes.max=100 size_bytes.max_regress=off"}, 1, "fail"),
        ({}, 3, "inconclusive"),
        ({"inconclusive": "warn"}, 75, "inconclusive"),
        ({"inconclusive": "warn", "set": "size_bytes.max=100"}, 1, "fail"),
        ({"bundle": "gone.edgx"}, 2, None),
        ({"baseline": "gone"}, 2, None),
        ({"seconds": "0"}, 2, None),
    ],
)
def test_exit_codes_and_files(
    workspace: Path, environment: dict[str, str], inputs: dict[str, str], code: int, outcome: str | None
) -> None:
    made = job(**{"bundle": "signs.edgx", "package": "none", **inputs})
    ended, said = run(made, workspace, environment)
    assert ended == code, said
    record = workspace / "edgexfer-gate" / "gate.json"
    assert record.is_file() == (outcome is not None)
    if outcome is not None:
        assert json.loads(record.read_text())["summary"]["outcome"] == outcome
        assert (workspace / made["artifacts"]["reports"]["junit"]).is_file()


def test_only_the_inconclusive_that_was_allowed_is_allowed() -> None:
    made = job(bundle="signs.edgx", tags=["raspberry-pi-5"])
    assert made["allow_failure"] == {"exit_codes": [75]}
    assert made["tags"] == ["raspberry-pi-5"]
    assert made["artifacts"]["when"] == "always"
    assert job(bundle="signs.edgx")["tags"] == []


def test_inputs_are_held_to_letters_that_end_no_string() -> None:
    for name, rule in declared().items():
        if rule.get("type") == "array":
            continue
        assert rule.get("description")
        assert not accepted(name, HOSTILE)
        for letter in "\"'`$\\\n;&|(){}":
            assert not accepted(name, f"a{letter}b"), f"{name} takes {letter!r}"
        if "default" in rule:
            assert accepted(name, rule["default"])


@pytest.mark.parametrize("variable", ["BUNDLE", "BASELINE", "DATA", "SET", "SECONDS", "INCONCLUSIVE"])
def test_no_variable_is_ever_run(workspace: Path, environment: dict[str, str], variable: str) -> None:
    made = job(bundle="signs.edgx", package="none")
    (workspace / "a=1").write_text("")  # what an unquoted * would find
    code, _ = run(made, workspace, environment, **{f"EDGEXFER_{variable}": f"* {HOSTILE}"})
    assert code in (2, 3)
    assert not list(workspace.parent.rglob("pwned"))


def test_the_package_is_installed_into_a_place_of_its_own(workspace: Path, environment: dict[str, str]) -> None:
    standin = Path(environment["PATH"].split(":")[0]) / "python3"
    standin.write_text(
        '#!/bin/sh\nmkdir -p "$3/bin"\n'
        'printf \'#!/bin/sh\\nprintf "%%s\\\\n" "$@" > "$0.asked"\\n\' > "$3/bin/python"\nchmod +x "$3/bin/python"\n'
    )
    standin.chmod(0o755)
    made = job(bundle="signs.edgx", baseline="signs.edgx", package="edgexfer[cpu]>=0.1")
    code, said = run(made, workspace, environment)
    assert code == 0, said
    asked = (workspace / ".edgexfer" / "bin" / "python.asked").read_text().splitlines()
    assert (asked[:3], asked[-2:]) == (["-m", "pip", "install"], ["--", "edgexfer[cpu]>=0.1"])


def test_shellcheck_finds_nothing() -> None:
    program = Path(sys.executable).parent / "shellcheck"
    found = str(program) if program.is_file() else shutil.which("shellcheck")
    if found is None:
        pytest.skip("shellcheck is not installed (pip install 'edgexfer[dev]')")
    made = job(bundle="signs.edgx")
    for script in (*made["before_script"], *made["script"]):
        done = subprocess.run([found, "--shell=sh", "-"], input=script, capture_output=True, text=True, check=False)
        assert (done.returncode, done.stdout) == (0, "")
