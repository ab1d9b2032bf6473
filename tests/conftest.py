"""Fixtures for every test: a tiny bundle, made once and copied for whoever wants to spoil it."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from tests.bundles import make_bundle


@pytest.fixture(scope="session")
def _made_once(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_bundle(tmp_path_factory.mktemp("bundles") / "tiny.edgx")


@pytest.fixture
def bundle_folder(_made_once: Path, tmp_path: Path) -> Path:
    """A bundle of three classes for 8 x 8 pixels and the backend ort; this test's own copy."""
    return Path(shutil.copytree(_made_once, tmp_path / "tiny.edgx"))
