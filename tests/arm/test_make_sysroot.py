"""What says that nothing can be emulated here, and how that is mended; nothing is fetched."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.arm import make_sysroot
from tests.arm.make_sysroot import ROOT, lacking, place


def said_without_tools(folder: Path, tools: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "tests.arm.make_sysroot"],
        cwd=ROOT,
        env={"PATH": str(tools), "PYTHONPATH": str(ROOT), "EDGEXFER_SYSROOT": str(folder)},
        capture_output=True,
        text=True,
        check=False,
    )


def test_the_place_is_in_the_repository_or_where_the_environment_says(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("EDGEXFER_SYSROOT", raising=False)
    assert place() == ROOT / ".cache/arm"
    monkeypatch.setenv("EDGEXFER_SYSROOT", "elsewhere")
    assert place() == Path.cwd() / "elsewhere"


def test_what_is_absent_or_of_other_pins_names_the_command(tmp_path: Path) -> None:
    assert lacking(tmp_path) == f"no emulator and no packages for Arm in {tmp_path} (make arm-sysroot)"
    (tmp_path / "made.json").write_text(json.dumps({"constraints.txt": "another"}))
    assert lacking(tmp_path) == f"{tmp_path} was made for other pins (make arm-sysroot)"


@pytest.mark.skipif(make_sysroot.platform.machine() != "x86_64", reason="another machine is refused before")
def test_a_machine_without_apt_is_told_what_is_missing(tmp_path: Path) -> None:
    said = said_without_tools(tmp_path / "made", tmp_path)
    assert said.returncode == 2
    assert (
        said.stderr
        == "error: apt-get is not on this machine, expected Debian\nhint:  run this on Debian, with its package apt\n"
    )


@pytest.mark.skipif(make_sysroot.platform.machine() != "x86_64", reason="another machine is refused before")
def test_a_tool_that_fails_is_quoted_and_nothing_half_made_counts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    tools, sources = tmp_path / "tools", tmp_path / "debian.sources"
    tools.mkdir()
    sources.touch()
    for name in ("apt-get", "dpkg-deb"):
        (tools / name).write_text("#!/bin/sh\necho 'no route to anywhere' >&2\nexit 100\n")
        (tools / name).chmod(0o755)
    monkeypatch.setenv("PATH", f"{tools}:/usr/bin:/bin")
    monkeypatch.setenv("EDGEXFER_SYSROOT", str(tmp_path / "made"))
    monkeypatch.setattr(make_sysroot, "_SOURCES", (sources,))
    assert make_sysroot.main() == 2
    error = capsys.readouterr().err
    assert error.startswith("error: `apt-get -qq update` ended with 100: no route to anywhere\n")
    assert error.endswith("hint:  mend that, then: make arm-sysroot\n")
    assert not (tmp_path / "made").exists()
