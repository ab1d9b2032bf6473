"""Fresh processes: what they say of themselves, and what becomes of those that do not live to say it."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

import pytest

from edgexfer.core.bundle import open_bundle
from edgexfer.core.errors import BackendError, EdgexferError
from edgexfer.gate.measure.process import start, started_in_turns
from tests.bundles import make_bundle


@pytest.fixture
def fake(tmp_path: Path) -> Path:
    return make_bundle(tmp_path / "fake.edgx", backend="fake")


def plant_backend(folder: Path, monkeypatch: pytest.MonkeyPatch, body: str) -> None:
    """Installs a backend called "odd" whose `open_session` is `body`; this process and its children see it."""
    (folder / "odd_backend.py").write_text(
        "import os, signal, sys, time\nfrom edgexfer.core.errors import BackendError\n"
        "from edgexfer.backends.fake import FakeSession\n\n"
        f"def missing():\n    return None\n\ndef engine_version():\n    return 'odd 1'\n\n"
        f"def open_session(bundle, *, threads):\n    {body}\n",
        encoding="utf-8",
    )
    info = folder / "odd_backend-1.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: odd-backend\nVersion: 1\n")
    (info / "entry_points.txt").write_text("[edgexfer.backends]\nodd = odd_backend\n")
    monkeypatch.setattr(sys, "path", [*sys.path, str(folder)])


def test_a_process_says_how_long_it_took_and_what_it_held(fake: Path) -> None:
    said = start(fake)
    assert 0 < said.load_ms < 60_000
    assert 10 < said.peak_memory_mib < 2000


def test_the_real_engine_holds_more_than_none(bundle_folder: Path, fake: Path) -> None:
    pytest.importorskip("onnxruntime", reason="onnxruntime is not installed (pip install 'edgexfer[cpu]')")
    assert start(open_bundle(bundle_folder), threads=1).peak_memory_mib > start(fake).peak_memory_mib + 1


def test_the_first_prediction_counts(tmp_path: Path, fake: Path) -> None:
    slow = make_bundle(tmp_path / "slow.edgx", backend="fake", options={"latency_ms": 100})
    # load runs the network once as well
    assert start(slow).load_ms > 200 > start(fake).load_ms


def test_the_folder_it_starts_in_has_no_say(fake: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("json.py", "random.py", "sitecustomize.py"):
        (tmp_path / name).write_text("raise SystemExit(9)\n")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [place for place in sys.path if place])
    assert start(fake.relative_to(tmp_path)).load_ms > 0


def test_turns_go_there_and_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    order = tmp_path / "order"
    body = (
        f"open({str(order)!r}, 'a').write(bundle.folder.name[0])\n"
        "    return FakeSession((8, 8), len(bundle.labels), 0.0)"
    )
    plant_backend(tmp_path, monkeypatch, body)
    made = [make_bundle(tmp_path / f"{name}.edgx", backend="odd") for name in "ab"]
    moved: list[tuple[float, float]] = []
    found = started_in_turns(made, 2, progress=lambda done, whole: moved.append((done, whole)))
    assert [len(each) for each in found] == [2, 2]
    assert order.read_text() == "abbaab"  # the first of each is not counted
    assert (moved[0], moved[-1], len(moved)) == ((1, 6), (6, 6), 6)


@pytest.mark.parametrize(
    ("body", "said"),
    [
        ("os.kill(os.getpid(), signal.SIGKILL)", "was killed: this machine may have too little memory"),
        ("os.kill(os.getpid(), signal.SIGSEGV)", "crashed with SIGSEGV"),
        ("sys.exit(7)", "ended with exit code 7"),
        ("raise MemoryError('no room')", "ended with exit code 1: MemoryError: no room"),
        ("os._exit(0)", "did not say how it went"),
    ],
)
def test_a_process_that_dies_is_an_error_that_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, body: str, said: str
) -> None:
    plant_backend(tmp_path, monkeypatch, body)
    with pytest.raises(BackendError, match=said) as raised:
        start(make_bundle(tmp_path / "b.edgx", backend="odd"))
    assert "b.edgx" in raised.value.message


def test_one_that_takes_too_long_is_ended(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    plant_backend(tmp_path, monkeypatch, "time.sleep(60)")
    with pytest.raises(BackendError, match="needed more than 2 s"):
        start(make_bundle(tmp_path / "b.edgx", backend="odd"), patience_seconds=2)


def test_what_load_refuses_is_said_as_it_says_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fake: Path) -> None:
    plant_backend(tmp_path, monkeypatch, "raise BackendError('the engine is \\N{SNOWMAN}', 'warm it')")
    with pytest.raises(EdgexferError, match="the engine is ☃") as raised:
        start(make_bundle(tmp_path / "b.edgx", backend="odd"))
    assert raised.value.hint == "warm it"
    shutil.rmtree(fake)
    with pytest.raises(EdgexferError, match="does not exist"):
        start(fake)


def test_an_engine_that_prints_is_no_harm(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    body = "print('{\"load_ms\": 1}', flush=True)\n    return FakeSession((8, 8), len(bundle.labels), 0.0)"
    plant_backend(tmp_path, monkeypatch, body)
    assert start(make_bundle(tmp_path / "b.edgx", backend="odd")).peak_memory_mib > 10
