"""A database that is held by another, or does not answer, ends a sweep with its address; nothing waits for ever."""

from __future__ import annotations

import socket
import subprocess
import sys
from pathlib import Path

import pytest

from edgexfer.core.errors import SettingsError
from edgexfer.flow.sweep import study
from edgexfer.flow.sweep.study import open_study

pytest.importorskip("optuna", reason="optuna is not installed (pip install 'edgexfer[sweep]')")

_HOLD = """
import sqlite3, sys, time
held = sqlite3.connect(sys.argv[1], isolation_level=None)
held.execute("BEGIN EXCLUSIVE")
print("held", flush=True)
time.sleep(300)
"""


@pytest.fixture(autouse=True)
def _impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("_LOCKED_S", "_CONNECT_S", "_SILENT_SERVER_S"):
        assert getattr(study, name) <= 60
        monkeypatch.setattr(study, name, 2)


def test_a_database_that_another_process_holds(tmp_path: Path) -> None:
    file = tmp_path / "study.db"
    with open_study(f"sqlite:///{file}", "s"):
        pass
    with subprocess.Popen([sys.executable, "-c", _HOLD, file], stdout=subprocess.PIPE) as other:
        assert other.stdout is not None
        other.stdout.readline()
        try:
            with pytest.raises(SettingsError, match=rf"sqlite:///{file} cannot be used: database is locked"):  # noqa: SIM117
                with open_study(f"sqlite:///{file}", "s"):
                    pass
        finally:
            other.kill()


@pytest.mark.parametrize(("kind", "package"), [("postgresql+psycopg2", "psycopg2"), ("mysql+pymysql", "pymysql")])
def test_a_server_that_takes_the_connection_and_says_nothing(kind: str, package: str) -> None:
    pytest.importorskip(package, reason=f"{package} is not installed (pip install {package})")
    with socket.create_server(("127.0.0.1", 0)) as silent:
        place = f"127.0.0.1:{silent.getsockname()[1]}/sweeps"
        with pytest.raises(SettingsError, match=rf"{place} cannot be used: .*time") as caught:  # noqa: SIM117
            with open_study(f"{kind}://me:secret@{place}", "s"):
                pass
    assert "secret" not in str(caught.value)
