"""The agent's store: what one run counts on, another does not trim away."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

import pytest

from edgexfer.remote.agent import store
from edgexfer.remote.agent.home import Home


def test_a_file_that_is_being_counted_on_is_not_trimmed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    mine, other = Home(tmp_path / "on"), Home(tmp_path / "on")
    digest = hashlib.sha256(b"a model").hexdigest()
    (mine.files / digest).write_bytes(b"a model")
    os.utime(mine.files / digest, (1e9, 1e9))  # sent long ago, and nothing links to it any more
    read = store.sha256_of

    def meanwhile(path: Path) -> str:
        found = read(path)
        other.trim()
        return found

    monkeypatch.setattr(store, "sha256_of", meanwhile)
    assert store.missing(mine, [digest]) == []
    assert (mine.files / digest).read_bytes() == b"a model"
    other.leave()
    mine.leave()


def test_a_file_that_two_runs_send_at_once_is_not_replaced(tmp_path: Path) -> None:
    """link(2) fails with ENOENT where its source is renamed over in between, as the kernel had it under load."""
    content = b"a split"
    digest = hashlib.sha256(content).hexdigest()
    kept = set()
    for home in (Home(tmp_path / "on"), Home(tmp_path / "on")):
        incoming = store.Incoming(home)
        incoming.begin(digest, len(content))
        incoming.part(content)
        assert incoming.end()
        kept.add((home.files / digest).stat().st_ino)
        assert not (home.run / "incoming").exists()
        home.leave()
    assert len(kept) == 1
    assert (tmp_path / "on" / "files" / digest).read_bytes() == content
