"""The wheel of the edgexfer that runs: whole, the same every time, and made the same from an install."""

from __future__ import annotations

import base64
import csv
import hashlib
import importlib.metadata
import io
import json
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

import edgexfer
from edgexfer.core.target import target_names
from edgexfer.remote.wheel import make_wheel, requirements, wheel_name

PACKAGE = Path(edgexfer.__file__).parent


@pytest.fixture(scope="module")
def wheel() -> bytes:
    return make_wheel()


def test_all_of_the_package_and_its_profiles_are_inside(wheel: bytes) -> None:
    with zipfile.ZipFile(io.BytesIO(wheel)) as archive:
        assert archive.testzip() is None
        names = set(archive.namelist())
    ours = {path.relative_to(PACKAGE.parent).as_posix() for path in PACKAGE.rglob("*.py")}
    assert ours - names == set()
    assert {f"edgexfer/targets/{name}.toml" for name in target_names()} - names == set()
    assert {
        "edgexfer/py.typed",
        "edgexfer/gate/report/templates/page.html.j2",
        "edgexfer/calibration/balanced-256.toml",
    } - names == set()
    assert not [name for name in names if "__pycache__" in name or Path(name).is_absolute() or ".." in name]
    assert {name.split("/")[0] for name in names} == {"edgexfer", f"edgexfer-{edgexfer.__version__}.dist-info"}


def test_its_record_vouches_for_every_file(wheel: bytes) -> None:
    with zipfile.ZipFile(io.BytesIO(wheel)) as archive:
        record = f"edgexfer-{edgexfer.__version__}.dist-info/RECORD"
        listed = {name: (digest, size) for name, digest, size in csv.reader(archive.read(record).decode().splitlines())}
        assert set(listed) == set(archive.namelist())
        for name, (digest, size) in listed.items():
            data = archive.read(name)
            ours = base64.urlsafe_b64encode(hashlib.sha256(data).digest()).rstrip(b"=").decode()
            assert (digest, size) == (("", "") if name == record else (f"sha256={ours}", str(len(data))))


def test_an_unpacked_wheel_makes_the_same_wheel(wheel: bytes, tmp_path: Path) -> None:
    with zipfile.ZipFile(io.BytesIO(wheel)) as archive:
        archive.extractall(tmp_path)
    program = (
        "import hashlib, edgexfer.remote.wheel as w, json;"
        "print(json.dumps([w.__file__, hashlib.sha256(w.make_wheel()).hexdigest(), w.requirements(['cpu'])]))"
    )
    command = [sys.executable, "-c", program]
    done = subprocess.run(command, check=False, capture_output=True, text=True, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    file, digest, wanted = json.loads(done.stdout)
    assert Path(file).is_relative_to(tmp_path)
    assert digest == hashlib.sha256(wheel).hexdigest()
    assert sorted(wanted) == sorted(requirements(["cpu"]))


def test_its_metadata_is_read_by_others(wheel: bytes, tmp_path: Path) -> None:
    with zipfile.ZipFile(io.BytesIO(wheel)) as archive:
        archive.extractall(tmp_path)
    (found,) = importlib.metadata.distributions(path=[str(tmp_path)])
    assert (found.name, found.version) == ("edgexfer", edgexfer.__version__)
    assert found.metadata["Requires-Python"] == ">=3.10"
    assert {entry.name: entry.value for entry in found.entry_points} == {"edgexfer": "edgexfer.cli.main:main"}
    assert wheel_name() == f"edgexfer-{edgexfer.__version__}-py3-none-any.whl"


def test_requirements_are_those_of_the_base_and_of_the_extras_asked_for() -> None:
    base = requirements()
    assert {text.partition(">")[0] for text in base} == {"numpy", "pillow", "rich", "tomli", "typer"}
    assert [text for text in requirements(["cpu"]) if text not in base] == ["onnxruntime>=1.18"]
    with pytest.raises(ValueError, match="no extra 'gpu'"):
        requirements(["gpu"])
