"""NVIDIA's own Python bindings of TensorRT 10.3, 10.13 and 11.4 take what the backend gives them.

Their wheels are fetched once into the system's temporary folder and imported with empty libraries in TensorRT's
place, which are compiled here; where there is no network, no gcc or no wheel for this Python the test says so.
"""

from __future__ import annotations

import json
import os
import platform
import shutil
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path
from typing import Any

import pytest

from tests.backends.tensorrt.conftest import MakeBundle

HERE = Path(__file__).parent
ROOT = HERE.parents[2]
LIBRARIES = {"INFER": "libnvinfer", "PARSER": "libnvonnxparser", "PLUGIN": "libnvinfer_plugin"}
# Package and its version, and which version of api.json that is.
WHEELS = [
    ("tensorrt_cu12_bindings==10.3.0", "10.3.0"),
    ("tensorrt_cu13_bindings==10.13.3.9", "10.13.3"),
    ("tensorrt_cu13_bindings==11.4.0.106", "11.4.0"),
]


@pytest.fixture(params=WHEELS, ids=[version for _, version in WHEELS])
def seen(request: pytest.FixtureRequest, make: MakeBundle, tmp_path: Path) -> tuple[str, dict[str, Any]]:
    """What meet_bindings.py saw, and the version it met."""
    package, version = request.param
    bindings = fetch(package)
    libraries = compile_libraries(tmp_path, version.partition(".")[0])
    bundle = make("int8")
    environment = {
        **os.environ,
        "LD_LIBRARY_PATH": str(libraries),
        "PYTHONPATH": os.pathsep.join([str(ROOT), str(bindings)]),
    }
    command = [sys.executable, "-W", "error", HERE / "meet_bindings.py", bundle.folder, version]
    done = subprocess.run(command, check=False, capture_output=True, text=True, env=environment, cwd=ROOT)
    assert done.returncode == 0, done.stderr
    return version, json.loads(done.stdout)


def fetch(package: str) -> Path:
    if platform.machine() != "x86_64" or sys.platform != "linux":
        pytest.skip("NVIDIA publishes wheels of its bindings for x86-64 Linux alone")
    python = f"{sys.version_info.major}.{sys.version_info.minor}"
    folder = Path(tempfile.gettempdir()) / f"edgexfer-tests-{os.getuid()}" / f"{package.replace('==', '-')}-{python}"
    folder.parent.mkdir(mode=0o700, exist_ok=True)
    if folder.parent.stat().st_uid != os.getuid():
        pytest.skip(f"{folder.parent} belongs to another user, and what lies there would be run")
    if (folder / "tensorrt_bindings" / "__init__.py").is_file():
        return folder
    with tempfile.TemporaryDirectory(dir=folder.parent) as stage:
        command = [
            sys.executable,
            "-m",
            "pip",
            "download",
            "-q",
            "--no-deps",
            "--only-binary=:all:",
            "-d",
            stage,
            package,
        ]
        done = subprocess.run(command, check=False, capture_output=True, text=True, cwd=stage)
        wheels = list(Path(stage).glob("*.whl"))
        if done.returncode or not wheels:
            pytest.skip(f"pip cannot fetch {package} for Python {python}: {done.stderr.strip()[-200:]}")
        unpacked = Path(stage) / "unpacked"
        with zipfile.ZipFile(wheels[0]) as wheel:
            wheel.extractall(unpacked)
        shutil.rmtree(folder, ignore_errors=True)
        unpacked.rename(folder)
    return folder


def compile_libraries(folder: Path, major: str) -> Path:
    if shutil.which("gcc") is None:
        pytest.skip("gcc is not installed")
    for macro, library in LIBRARIES.items():
        name = f"{library}.so.{major}"
        command = ["gcc", "-shared", "-fPIC", "-Wall", "-Werror", f"-D{macro}", f"-Wl,-soname,{name}"]
        subprocess.run([*command, "-o", folder / name, HERE / "empty_libraries.c"], check=True)
    return folder


@pytest.mark.slow
def test_the_backend_meets_the_real_bindings(seen: tuple[str, dict[str, Any]]) -> None:
    version, found = seen
    in_11 = version.startswith("11.")
    assert found["names"] == []
    assert found["missing"] is None
    assert found["engine"].startswith(f"tensorrt {version}")
    assert found["typing"]["int8"] == ([[], [], 0] if in_11 else [["EXPLICIT_BATCH"], ["FP16", "INT8"], 1])
    assert found["typing"]["half"] == ([[], [], 0] if in_11 else [["EXPLICIT_BATCH", "STRONGLY_TYPED"], [], 3])
    assert found["flags"] == ([] if in_11 else ["BuilderFlag.FP16", "BuilderFlag.INT8"])
    assert found["flags are real"]
    assert found["enums"] == ["UINT8", "FLOAT", "INPUT"]
    assert found["errors"] == ["said as INTERNAL_ERROR", "said as ERROR"]
    assert found["warnings"] == ["said as WARNING"]
    assert found["real"] == [True, True, True]
    assert found["steps"] == [True, False]
    assert found["counts"] == [[0, 1]]
    for refused in (found["build"], found["open"]):
        assert refused.startswith(f"TensorRT {version}")
        assert " cannot start: pybind11::init(): factory function returned nullptr" in refused
        assert "edgexfer doctor" in refused
