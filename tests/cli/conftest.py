from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import pytest

from tests.cli.runs import Call, make_run
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


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> list[Call]:
    """What the stage of `finetune` was called with; it trains nothing, and leaves a checkpoint of fixed figures."""
    module = pytest.importorskip("edgexfer.train.finetune", reason="needs the extra [train]", exc_type=ImportError)
    seen: list[Call] = []

    def stage(data: Path, out: Path, settings: Any, **options: Any) -> object:
        seen.append({"data": data, "out": out, "settings": settings, **options})
        options["progress"](3, 3)
        logging.getLogger("edgexfer.train.loop.fit").info("epoch 1/1")
        logging.getLogger("edgexfer.train.loop.fit").debug("too much")
        logging.getLogger("edgexfer.train.images.prepared").warning("left out: x.png")
        logging.getLogger("timm.models").info("loading weights")
        return make_run(out)

    monkeypatch.setattr(module, "finetune", stage)
    return seen
