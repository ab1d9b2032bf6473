"""Packages that the device's Python lacks: installed beside it, once; or one line that says what is missing."""

from __future__ import annotations

import io
import sys
import venv
import zipfile
from pathlib import Path

import pytest

from edgexfer.core.errors import RemoteError
from tests.remote.sshd import Server

needs_pip = pytest.mark.usefixtures("_pip")


@pytest.fixture
def _pip() -> None:
    pytest.importorskip("pip", reason="pip is not installed")


@pytest.fixture
def wheels(server: Server) -> Path:
    """The folder of wheels that pip sees on the device, with one package in it that speaks when Python starts."""
    folder = server.folder / "wheels"
    made = io.BytesIO()
    with zipfile.ZipFile(made, "w") as archive:
        archive.writestr("sitecustomize.py", "import sys; print('edgexfer_probe is here', file=sys.stderr)\n")
        info = "edgexfer_probe-1.2.dist-info"
        archive.writestr(f"{info}/METADATA", "Metadata-Version: 2.1\nName: edgexfer-probe\nVersion: 1.2\n")
        archive.writestr(f"{info}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        archive.writestr(f"{info}/RECORD", "")
    (folder / "edgexfer_probe-1.2-py3-none-any.whl").write_bytes(made.getvalue())
    return folder


@needs_pip
@pytest.mark.usefixtures("wheels")
def test_a_missing_package_is_installed_once_and_seen_by_runs(server: Server) -> None:
    news: list[str] = []
    for expected in (1, 0):
        news.clear()
        with server.device(on_news=news.append) as device:
            device.install(needs=("edgexfer-probe>=1.0", "numpy", "nothing>=3; python_version < '3.0'"))
            assert "edgexfer_probe is here" in device.run(["targets"]).stderr_tail
        assert news.count("device: pip installs edgexfer-probe>=1.0") == expected


@needs_pip
@pytest.mark.usefixtures("wheels")
def test_what_pip_cannot_find_is_said_in_one_line(server: Server) -> None:
    with server.device() as device:
        with pytest.raises(RemoteError, match=r"^device: pip cannot install edgexfer-probe>=2: ") as caught:
            device.install(needs=("edgexfer-probe>=2",))
        assert "\n" not in caught.value.message
        assert caught.value.hint.endswith(f"install there: {sys.executable} -m pip install 'edgexfer-probe>=2'")
        device.install()  # without it the device is as usable as before
        assert device.run(["targets"]).returncode == 0
    assert list((server.on / "deps").iterdir()) == []


def test_without_pip_the_packages_and_the_command_are_named(server: Server, tmp_path: Path) -> None:
    venv.create(tmp_path / "bare", with_pip=False)
    with server.device(python=str(tmp_path / "bare" / "bin" / "python")) as device:
        with pytest.raises(RemoteError, match=r"lacks numpy>=1.26, pillow>=10.3, rich>=13.7, ") as caught:
            device.install()
        assert "has no pip to install them with" in caught.value.message
        assert "apt-get install python3-pip" in caught.value.hint
        assert "-m pip install 'numpy>=1.26' 'pillow>=10.3'" in caught.value.hint
