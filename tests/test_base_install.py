"""What a device installs is enough: the runtime needs neither torch nor onnx nor the command line's packages."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.test_public_api import PACKAGE, modules

# Not even their absence may matter: a finder refuses them, as if they were not installed.
BAN = """
import sys
BANNED = {"torch", "torchvision", "timm", "lightning", "nncf", "onnx", "sklearn", "typer", "click", "rich", "openvino",
          "tensorrt", "safetensors", "torch_pruning", "torchao", "torchmetrics", "jinja2", "matplotlib"}
class Ban:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in BANNED:
            raise ModuleNotFoundError(f"{name} is banned here", name=name)
sys.meta_path.insert(0, Ban())
"""
PREDICT = """
import sys
import numpy as np
from edgexfer import load
with load(sys.argv[1]) as classifier:
    labels = [classifier(np.full((20, 30, 3), colour, np.uint8)).label
              for colour in ((220, 30, 30), (30, 220, 30), (30, 30, 220))]
print(labels, sorted({"torch", "onnx", "nncf", "typer", "click", "rich"} & set(sys.modules)))
"""
ANSWER = "['a', 'b', 'c'] []\n"


def python(code: str, *arguments: object, executable: str | None = None, cwd: Path | None = None) -> str:
    # -I where another interpreter is meant: this one's PYTHONPATH is none of its business.
    start = [sys.executable] if executable is None else [executable, "-I"]
    command = [*start, "-W", "error", "-c", code, *map(str, arguments)]
    done = subprocess.run(command, check=False, capture_output=True, text=True, cwd=cwd)
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    return done.stdout


def test_every_module_below_train_imports_without_the_banned() -> None:
    names = modules("core", "backends", "runtime", "gate", "build", "remote")
    assert len(names) >= 12
    code = f"{BAN}\nimport importlib\nfor name in {names!r}: importlib.import_module(name)\nprint(len(sys.modules) > 0)"
    assert python(code) == "True\n"


def test_prediction_without_the_banned(bundle_folder: Path) -> None:
    pytest.importorskip("onnxruntime", reason="onnxruntime is not installed (pip install 'edgexfer[cpu]')")
    assert python(BAN + PREDICT, bundle_folder) == ANSWER


def test_without_onnxruntime_the_error_says_what_to_install(bundle_folder: Path) -> None:
    code = BAN.replace('"torch",', '"torch", "onnxruntime",') + (
        "import importlib.util\n"
        "real = importlib.util.find_spec\n"
        "importlib.util.find_spec = lambda name, *rest: None if name in BANNED else real(name, *rest)\n"
        "from edgexfer import EdgexferError, load\n"
        "try:\n    load(sys.argv[1])\n"
        "except EdgexferError as error:\n    print(type(error).__name__, error.message)\n"
    )
    said = python(code, bundle_folder)
    assert said.startswith("MissingPartError")
    assert "onnxruntime is not installed; pip install 'edgexfer[cpu]'" in said


def test_the_engine_tells_nobody_that_it_was_used(bundle_folder: Path, tmp_path: Path) -> None:
    """ONNX Runtime keeps an identifier in the home folder, and sends it, unless it is told not to."""
    pytest.importorskip("onnxruntime", reason="onnxruntime is not installed (pip install 'edgexfer[cpu]')")
    unasked = {name: value for name, value in os.environ.items() if name not in ("ORT_DISABLE_TELEMETRY", "CI")}
    environment = {**unasked, "HOME": str(tmp_path), "XDG_CACHE_HOME": str(tmp_path / "cache")}
    code = f"import sys; sys.path.insert(0, {str(PACKAGE.parent)!r})\n{PREDICT}"
    command = [sys.executable, "-c", code, str(bundle_folder)]
    done = subprocess.run(command, check=True, capture_output=True, text=True, env=environment, cwd=tmp_path)
    assert done.stdout == ANSWER
    assert not list(tmp_path.rglob("*onnxruntime*"))
    assert not list(tmp_path.rglob("deviceid"))


@pytest.mark.parametrize(
    ("package", "code"),
    [
        ("openvino", PREDICT.replace("load(sys.argv[1])", "load(sys.argv[1], backend='openvino')")),
        (
            "nncf",
            (
                "import edgexfer.train.quantize.quantizers\n"
                "from nncf.telemetry import telemetry\nprint(type(telemetry).__name__)"
            ),
        ),
    ],
)
def test_what_stands_on_openvino_tells_nobody_either(
    bundle_folder: Path, tmp_path: Path, package: str, code: str
) -> None:
    """openvino-telemetry is brought by both packages; it writes to the home folder before it sends."""
    pytest.importorskip(package, reason=f"{package} is not installed")
    unasked = {name: value for name, value in os.environ.items() if name not in ("CI", "TF_BUILD", "JENKINS_URL")}
    code = f"import sys; sys.path.insert(0, {str(PACKAGE.parent)!r})\n{code}\nassert {package!r} in sys.modules\n"
    code += "assert sys.modules['openvino_telemetry'] is None"
    command = [sys.executable, "-c", code, str(bundle_folder)]
    environment = {**unasked, "HOME": str(tmp_path)}
    done = subprocess.run(command, check=False, capture_output=True, text=True, env=environment, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert done.stdout == (ANSWER if package == "openvino" else "MagicMock\n")
    assert not (tmp_path / "intel").exists()


@pytest.mark.slow
def test_prediction_in_an_empty_environment(bundle_folder: Path, tmp_path: Path) -> None:
    """Installs `.[cpu]` and nothing else into a fresh venv and predicts there, away from the checkout."""
    root = PACKAGE.parent
    if not (root / "pyproject.toml").is_file():
        pytest.skip("edgexfer is installed here without its checkout")
    subprocess.run([sys.executable, "-m", "venv", tmp_path / "venv"], check=True)
    executable = str(tmp_path / "venv" / "bin" / "python")
    constraints = root / "constraints.txt"
    pinned = ["--constraint", str(constraints)] if constraints.is_file() else []
    command = [executable, "-m", "pip", "install", "-q", "--disable-pip-version-check", *pinned, f"{root}[cpu]"]
    done = subprocess.run(command, check=False, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    absent = "import importlib.util as u; print([n for n in ('torch', 'onnx', 'nncf', 'sklearn') if u.find_spec(n)])"
    assert python(absent, executable=executable, cwd=tmp_path) == "[]\n"
    assert python(PREDICT, bundle_folder, executable=executable, cwd=tmp_path) == ANSWER
    targets = "from edgexfer.core.target import load_target; print(load_target('x86-cpu').backend)"
    assert python(targets, executable=executable, cwd=tmp_path) == "ort\n"
