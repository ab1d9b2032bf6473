"""The runtime's own tests, run by Debian's Python on an emulated Cortex-A72."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.arm.cpus import CORTEX_A72
from tests.arm.emulated import run

# A minute of work, and many on a machine that has other work.
pytestmark = [pytest.mark.arm, pytest.mark.slow, pytest.mark.timeout(3600)]

# What decodes, resizes, loads and predicts; of the backends those that an Arm CPU runs without more hardware.
TESTS = (
    "tests/runtime",
    "tests/backends/test_contract.py",
    "tests/core/test_preprocess.py",
    "tests/core/test_decode.py",
)
# A child that was forked beside ONNX Runtime's threads and loads a bundle of its own hangs in QEMU, not natively.
NOT_EMULATED = ("--deselect", "tests/runtime/test_processes.py::test_a_fork_is_refused_and_may_load_its_own[ort]")


def test_the_runtimes_tests_pass_on_a_cortex_a72(sysroot: Path, tmp_path: Path) -> None:
    pytest_words = ["-m", "pytest", "-q", "-p", "no:cacheprovider", "--basetemp", str(tmp_path / "inside")]
    done = run(CORTEX_A72, sysroot, tmp_path / "own", *pytest_words, "-k", "not tensorrt", *NOT_EMULATED, *TESTS)
    assert done.returncode == 0, done.stdout + done.stderr
    passed = re.search(r"(\d+) passed", done.stdout)
    assert passed is not None
    assert int(passed[1]) > 100
