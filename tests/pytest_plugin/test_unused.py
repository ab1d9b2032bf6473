"""Whoever does not use the plugin does not notice it."""

from __future__ import annotations

import os
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tests.pytest_plugin.conftest import Project


def test_loading_it_loads_nothing_but_pytest() -> None:
    code = (
        "import sys, pytest\nbefore = set(sys.modules)\nimport edgexfer.pytest_plugin.plugin\n"
        "new = set(sys.modules) - before - {'__future__'}\n"
        "print(sorted(name for name in new if sys.modules[name] is not None))"  # None: forbidden, not loaded
    )
    done = subprocess.run([sys.executable, "-W", "error", "-c", code], capture_output=True, text=True, check=True)
    assert (
        done.stdout
        == "['edgexfer', 'edgexfer.pytest_plugin', 'edgexfer.pytest_plugin.options', 'edgexfer.pytest_plugin.plugin']\n"
    )


def test_a_run_without_gates_says_nothing_of_it_and_loads_none_of_it(project: Project) -> None:
    project.tests("""
        import sys

        def test_it():
            assert not {"edgexfer.core", "edgexfer.gate", "numpy"} & set(sys.modules)
        """)
    done = project.run("--strict-markers", "--strict-config")
    done.assert_outcomes(passed=1)
    assert done.errlines == []
    assert "edgexfer" not in "\n".join(line for line in done.outlines if not line.startswith(("plugins:", "rootdir:")))


def test_it_can_be_taken_out(project: Project) -> None:
    project.tests("def test_it(edgexfer_gate):\n    pass\n")
    done = project.run("-p", "no:edgexfer")
    done.assert_outcomes(errors=1)
    done.stdout.fnmatch_lines(["*fixture 'edgexfer_gate' not found*"])
    assert project.run("-p", "no:edgexfer", "--edgexfer-seconds", "3").ret == pytest.ExitCode.USAGE_ERROR


def test_collecting_judges_and_writes_nothing(project: Project) -> None:
    project.tests("def test_it(edgexfer_gate):\n    edgexfer_gate('none.edgx')\n")
    assert project.run("--collect-only", "--edgexfer-json", "gates.json").ret == 0
    assert not (project.folder / "gates.json").exists()


def test_a_users_own_package_is_covered_as_without_it(project: Project) -> None:
    pytest.importorskip("pytest_cov", reason="pytest-cov is not installed (pip install 'edgexfer[dev]')")
    (project.folder / "mine.py").write_text("ANSWER = 42\n\n\ndef answer():\n    return ANSWER\n")
    project.tests("import mine\n\ndef test_it():\n    assert mine.answer() == 42\n")
    command = [sys.executable, "-m", "pytest", "--cov=mine", "--cov-report=term", "-p", "no:cacheprovider"]
    place = os.pathsep.join([str(project.folder), os.environ["PYTHONPATH"]])
    done = subprocess.run(
        command, capture_output=True, text=True, check=True, cwd=project.folder, env={**os.environ, "PYTHONPATH": place}
    )
    (line,) = [line for line in done.stdout.splitlines() if line.startswith("mine.py")]
    assert line.split() == ["mine.py", "3", "0", "100%"]
