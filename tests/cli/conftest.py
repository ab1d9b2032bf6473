from __future__ import annotations

from pathlib import Path

import pytest

from tests.cli.terminal import Terminal
from tests.gate.images import write_folders


@pytest.fixture
def edgexfer(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Terminal:
    monkeypatch.delenv("COLUMNS", raising=False)
    monkeypatch.delenv("FORCE_COLOR", raising=False)
    return Terminal(capsys)


@pytest.fixture
def data(tmp_path: Path) -> Path:
    return write_folders(tmp_path / "data")
