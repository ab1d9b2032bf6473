"""The wheel: what is in it, what is not, what it asks for, and that it finds its own profiles."""

from __future__ import annotations

import re
import subprocess
import sys
import zipfile
from email.message import Message
from email.parser import Parser
from pathlib import Path

import pytest

import edgexfer

ROOT = Path(__file__).parent.parent
BASE = {"numpy", "pillow", "rich", "typer", "tomli"}

pytest.importorskip("build", reason="build is not installed (pip install 'edgexfer[dev]')")
pytest.importorskip("hatchling", reason="hatchling is not installed (pip install 'edgexfer[dev]')")
pytestmark = pytest.mark.skipif(not (ROOT / "pyproject.toml").is_file(), reason="not run from a checkout")


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("dist")
    command = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", str(out), str(ROOT)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=out)
    assert done.returncode == 0, done.stdout + done.stderr
    (made,) = out.glob("*.whl")
    return made


@pytest.fixture(scope="module")
def names(wheel: Path) -> set[str]:
    with zipfile.ZipFile(wheel) as archive:
        return set(archive.namelist())


@pytest.fixture(scope="module")
def metadata(wheel: Path) -> Message:
    with zipfile.ZipFile(wheel) as archive:
        (name,) = (n for n in archive.namelist() if n.endswith(".dist-info/METADATA"))
        return Parser().parsestr(archive.read(name).decode())


def test_every_module_and_data_file_of_the_package_is_inside(names: set[str]) -> None:
    expected = {
        path.relative_to(ROOT).as_posix()
        for path in (ROOT / "edgexfer").rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }
    assert expected - names == set()
    assert "edgexfer/py.typed" in names


@pytest.mark.parametrize("folder", ["targets", "calibration"])
def test_profiles_travel_inside_the_package(names: set[str], folder: str) -> None:
    expected = {f"edgexfer/{folder}/{path.name}" for path in (ROOT / folder).glob("*.toml")}
    assert expected
    assert expected - names == set()


def test_nothing_else_is_inside(names: set[str]) -> None:
    tops = {name.split("/")[0] for name in names}
    assert tops == {"edgexfer", f"edgexfer-{edgexfer.__version__}.dist-info"}
    suffixes = {Path(name).suffix for name in names if name.startswith("edgexfer/")}
    assert suffixes <= {".py", ".typed", ".toml", ".j2"}, suffixes
    assert not [name for name in names if "test" in Path(name).name]


def test_the_base_install_stays_small(metadata: Message) -> None:
    asked = metadata.get_all("Requires-Dist") or []
    base = {_package(line) for line in asked if "extra ==" not in line}
    assert base == BASE
    extras = set(metadata.get_all("Provides-Extra") or [])
    others = {"pretrain", "sign", "stream", "sweep", "trackers", "dev"}
    assert extras == {"cpu", "openvino", "tensorrt", "report", "train", *others}


def test_licence_version_and_command(wheel: Path, metadata: Message) -> None:
    assert metadata["License-Expression"] == "Apache-2.0"
    assert metadata["Version"] == edgexfer.__version__
    assert metadata["Requires-Python"] == ">=3.10"
    with zipfile.ZipFile(wheel) as archive:
        folder = f"edgexfer-{edgexfer.__version__}.dist-info"
        entries = archive.read(f"{folder}/entry_points.txt").decode()
        assert "[console_scripts]\nedgexfer = edgexfer.cli.main:main\n" in entries
        assert "[pytest11]\nedgexfer = edgexfer.pytest_plugin.plugin\n" in entries
        assert "Apache License" in archive.read(f"{folder}/licenses/LICENSE").decode()


def test_an_unpacked_wheel_finds_its_profiles(wheel: Path, tmp_path: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(tmp_path)
    program = (
        "import edgexfer.core.target as t, pathlib;"
        "print(pathlib.Path(t.__file__).is_relative_to(pathlib.Path.cwd()), *t.target_names());"
        "print(t.load_calibration(t.load_target('x86-cpu').calibration).name)"
    )
    done = subprocess.run([sys.executable, "-c", program], cwd=tmp_path, capture_output=True, text=True, check=True)
    shipped = sorted(path.stem for path in (ROOT / "targets").glob("*.toml"))
    assert done.stdout.splitlines() == [f"True {' '.join(shipped)}", "balanced-256"]


def _package(requirement: str) -> str:
    return re.split(r"[<>=!~;\[ (]", requirement, maxsplit=1)[0].lower()
