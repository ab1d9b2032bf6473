"""The command line as a process: what it imports, how it ends, what it leaves of errors."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from edgexfer.cli import main, predict
from edgexfer.cli.parts import needs
from edgexfer.core.errors import MissingPartError
from tests.bundles import make_bundle
from tests.cli.terminal import Terminal

HEAVY = ("torch", "onnxruntime", "onnx", "timm", "lightning", "nncf", "openvino", "sklearn", "PIL")


def python(code: str, *arguments: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", code, *map(str, arguments)]
    return subprocess.run(command, check=False, capture_output=True, text=True)


def test_help_imports_nothing_heavy() -> None:
    code = (
        "import sys\nfrom edgexfer.cli.main import run\ncode = run(['--help'])\n"
        f"print(code, sorted(set({HEAVY!r}) & set(sys.modules)), file=sys.stderr)"
    )
    assert python(code).stderr == "0 []\n"


def test_every_help_without_any_heavy_package() -> None:
    code = (
        "import sys\n"
        "class Ban:\n"
        "    def find_spec(self, name, path=None, target=None):\n"
        f"        if name.partition('.')[0] in {HEAVY!r}:\n"
        "            raise ModuleNotFoundError(f'No module named {name!r}', name=name)\n"
        "sys.meta_path.insert(0, Ban())\n"
        "from edgexfer.cli.main import app, run\n"
        "verbs = [command.name for command in app.registered_commands]\n"
        "print(max(run([verb, '--help']) for verb in verbs), len(verbs) > 6, file=sys.stderr)"
    )
    assert python(code).stderr == "0 True\n"


def test_python_m_is_the_command() -> None:
    done = subprocess.run([sys.executable, "-m", "edgexfer", "--version"], check=True, capture_output=True, text=True)
    assert done.stdout.startswith("edgexfer ")


def test_a_missing_package_is_named_with_the_command_that_installs_it() -> None:
    with pytest.raises(MissingPartError, match="'torch'") as caught, needs("train"):
        raise ModuleNotFoundError("No module named 'torch.nn'", name="torch.nn")
    assert caught.value.hint == "pip install 'edgexfer[train]'"


def test_a_missing_module_of_our_own_is_our_bug() -> None:
    with pytest.raises(ModuleNotFoundError, match="nothing"), needs("train"):
        raise ModuleNotFoundError("No module named 'edgexfer.nothing'", name="edgexfer.nothing")


def test_our_bugs_keep_their_traceback(edgexfer: Terminal, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(text: str) -> str:
        raise ZeroDivisionError(text)

    monkeypatch.setattr(main.show, "line", broken)
    with pytest.raises(ZeroDivisionError):
        edgexfer("--version")


@pytest.mark.skipif(sys.platform == "win32", reason="needs POSIX signals")
def test_ctrl_c_is_one_line(tmp_path: Path) -> None:
    bundle = make_bundle(tmp_path / "b.edgx", backend="fake", options={"latency_ms": 1.0})
    record = tmp_path / "record.json"
    command = [sys.executable, "-m", "edgexfer", "bench", bundle, "--seconds", "60", "--json", record]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        time.sleep(2.5)
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=20)
    assert (process.returncode, out, err) == (130, "", "interrupted\n")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["b.edgx"]


@pytest.mark.skipif(sys.platform == "win32", reason="needs POSIX pipes")
def test_a_reader_that_leaves_is_no_error() -> None:
    reading, writing = os.pipe()
    os.close(reading)
    command = [sys.executable, "-m", "edgexfer", "backbones"]
    done = subprocess.run(command, check=False, stdout=writing, stderr=subprocess.PIPE, text=True)
    os.close(writing)
    assert (done.returncode, done.stderr) == (0, "")


def test_a_library_that_ends_the_process_at_ctrl_c_is_an_interruption(
    edgexfer: Terminal, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(_: str) -> None:
        try:
            raise KeyboardInterrupt
        except KeyboardInterrupt:
            sys.exit(1)

    monkeypatch.setattr(main.show, "line", broken)
    said = edgexfer("--version")
    assert (said.code, said.err) == (130, "interrupted\n")
    monkeypatch.setattr(main.show, "line", sys.exit)
    with pytest.raises(SystemExit):
        edgexfer("--version")


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full, a disk that is always full")
def test_standard_output_on_a_full_disk() -> None:
    with Path("/dev/full").open("w", encoding="utf-8") as full:
        command = [sys.executable, "-m", "edgexfer", "targets"]
        done = subprocess.run(command, check=False, stdout=full, stderr=subprocess.PIPE, text=True)
    assert done.returncode == 2
    assert done.stderr.startswith("error: the system refuses on standard output: No space left")


def test_colours_only_on_a_terminal(edgexfer: Terminal, monkeypatch: pytest.MonkeyPatch) -> None:
    assert "\x1b" not in edgexfer("targets").out
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    monkeypatch.setenv("TERM", "xterm")
    assert "\x1b" in edgexfer("targets").out
    monkeypatch.setenv("NO_COLOR", "1")
    assert "\x1b[3" not in edgexfer("targets").out


def test_verbs_are_called_as_their_functions() -> None:
    assert predict.predict in [command.callback for command in main.app.registered_commands]


def test_a_bug_of_ours_is_told_from_a_gate_that_failed(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def broken(_: object) -> int:
        raise ZeroDivisionError("of ours")

    monkeypatch.setattr(main, "run", broken)
    with pytest.raises(SystemExit) as ended:
        main.main(["doctor"])
    assert ended.value.code == 70
    assert "ZeroDivisionError: of ours" in capsys.readouterr().err
