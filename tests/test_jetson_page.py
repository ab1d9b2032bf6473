"""docs/jetson.md keeps its word: profiles, trtexec lines, what errors say, the unit and the service are the code's."""

from __future__ import annotations

import configparser
import json
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from PIL import Image

import edgexfer
from edgexfer.core.target import load_target, target_names
from edgexfer.core.trtexec import example_lines

ROOT = Path(__file__).parent.parent
PAGE = ROOT / "docs" / "jetson.md"

pytestmark = pytest.mark.skipif(not PAGE.is_file(), reason="not run from a checkout")


def page() -> str:
    return PAGE.read_text(encoding="utf-8")


def block(language: str, word: str) -> str:
    blocks = re.findall(rf"^```{language}\n(.*?)^```", page(), re.MULTILINE | re.DOTALL)
    (found,) = (text for text in blocks if word in text)
    return str(found)


def section(title: str) -> str:
    return page().partition(f"\n## {title}\n")[2].partition("\n## ")[0]


def test_every_profile_has_its_row_with_its_releases() -> None:
    rows = [line for line in section("Which profile").splitlines() if line.startswith("| ")]
    for name in (name for name in target_names() if name.startswith("jetson")):
        (row,) = (row for row in rows if f"`{name}`" in row)
        target = load_target(name)
        _, _, jetpacks, versions, how, _, _ = (cell.strip() for cell in row.split("|"))
        assert versions == ", ".join(target.engine_versions), name
        first, *_, last = target.host["jetpack"]
        assert first in re.findall(r"[\d.]+", jetpacks), name
        assert last in re.findall(r"[\d.]+", jetpacks), name
        assert how.startswith("trtexec") == (load_target(name).engine_versions[-1] < "8.6" and len(versions) == 3), name


@pytest.mark.parametrize("name", ["jetson-xavier-nx", "jetson-orin-nano", "jetson-agx-orin-64gb"])
def test_the_trtexec_lines_are_those_that_build_prints(name: str) -> None:
    joined = section("trtexec").replace("\\\n", " ")
    shown = [shlex.split(line) for line in joined.splitlines() if line.startswith("/usr/src/tensorrt")]
    lines = example_lines(load_target(name))
    assert lines
    for line in lines:
        assert list(line.command) in shown, line.text


def test_what_errors_are_quoted_with_is_what_they_say() -> None:
    sources = "\n".join(path.read_text(encoding="utf-8") for path in (ROOT / "edgexfer").rglob("*.py"))
    said = re.sub(r"\"\s*\n\s*f?\"", "", sources)  # texts that go on in the next line
    rows = [line.split("|")[1] for line in section("Troubleshooting").splitlines() if line.startswith("| ")]
    quoted = [text for row in rows for text in re.findall(r'"([^"]+)"', row)]
    assert len(quoted) >= 10
    for text in quoted:
        for part in filter(None, (part.strip() for part in text.split("..."))):
            assert part in said, f"nothing says {part!r}"


def test_every_row_of_the_troubleshooting_table_is_complete() -> None:
    rows = [line for line in section("Troubleshooting").splitlines() if line.startswith("| ")][1:]
    assert len(rows) >= 12
    assert all(len(row.split(" | ")) == 3 and all(cell.strip(" |") for cell in row.split(" | ")) for row in rows)


def test_every_source_that_is_cited_is_listed_and_every_listed_one_is_cited() -> None:
    body, _, sources = page().partition("\n## Sources\n")
    listed = set(re.findall(r"^- \[([a-z])\]", sources, re.MULTILINE))
    assert set(re.findall(r"\[([a-z])\](?!\()", body.replace("`[a]` to `[k]`", ""))) == listed


def unit() -> configparser.ConfigParser:
    parser = configparser.ConfigParser(strict=True, interpolation=None)
    parser.optionxform = str  # type: ignore[assignment,method-assign]
    parser.read_string(block("ini", "[Unit]"))
    return parser


def test_the_unit_runs_as_nobody_special_and_builds_first() -> None:
    service = unit()["Service"]
    assert service["User"] not in ("", "root")
    assert shlex.split(service["ExecStartPre"])[1:3] == ["build", "signs.edgx"]
    assert service["WorkingDirectory"] == f"/var/lib/{service['StateDirectory']}"
    assert service["Restart"] == "on-failure"
    assert {"NoNewPrivileges", "ProtectSystem", "ProtectHome", "PrivateTmp"} <= set(service)
    assert {"PrivateDevices", "ProtectClock", "MemoryDenyWriteExecute"}.isdisjoint(service), "CUDA could not work"
    assert unit()["Install"]["WantedBy"] == "multi-user.target"


def test_its_build_is_a_command_that_exists() -> None:
    typer = pytest.importorskip("typer")
    from edgexfer.cli.main import app

    command = typer.main.get_command(app).commands["build"]
    command.make_context("build", shlex.split(unit()["Service"]["ExecStartPre"])[2:])


def test_systemd_finds_nothing_wrong_with_it(tmp_path: Path) -> None:
    program = shutil.which("systemd-analyze")
    if program is None:
        pytest.skip("systemd-analyze is not installed (apt install systemd)")
    # It wants every program of a unit to be there.
    text = re.sub(r"/opt/edgexfer/bin/\w+", sys.executable, block("ini", "[Unit]"))
    file = tmp_path / "signs.service"
    file.write_text(text, encoding="utf-8")
    done = subprocess.run([program, "verify", "--man=no", str(file)], check=False, capture_output=True, text=True)
    assert (done.returncode, [line for line in done.stderr.splitlines() if "signs.service" in line]) == (0, [])


def test_the_service_answers_every_image_and_ends_when_told(bundle_folder: Path, tmp_path: Path) -> None:
    pytest.importorskip("onnxruntime", reason="onnxruntime is not installed (pip install 'edgexfer[cpu]')")
    place = tmp_path / "service"
    (place / "inbox").mkdir(parents=True)
    shutil.copytree(bundle_folder, place / "signs.edgx")
    Image.new("RGB", (30, 20), (220, 30, 30)).save(place / "inbox" / "red.jpg")
    (place / "inbox" / "broken.jpg").write_bytes(b"no image")
    (place / "service.py").write_text(block("python", "inbox"), encoding="utf-8")
    found = {**os.environ, "PYTHONPATH": str(Path(edgexfer.__file__).parent.parent)}
    command = [sys.executable, "-W", "error", "service.py"]
    running = subprocess.Popen(command, cwd=place, env=found, stderr=subprocess.PIPE)
    try:
        deadline = time.monotonic() + 60
        while list((place / "inbox").iterdir()) and running.poll() is None and time.monotonic() < deadline:
            time.sleep(0.05)
        running.send_signal(signal.SIGTERM)
        _, said = running.communicate(timeout=30)
    finally:
        running.kill()
    assert (running.returncode, said) == (0, b"")
    answers = [json.loads(line) for line in (place / "answers.jsonl").read_text(encoding="utf-8").splitlines()]
    assert [answer["image"] for answer in answers] == ["broken.jpg", "red.jpg"]
    assert "broken.jpg" in answers[0]["error"]
    assert answers[1]["label"] == "a"
