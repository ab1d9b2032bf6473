"""Where the real images are: EDGEXFER_DATA, or shared/data beside the checkout; tests skip where they are absent.

EDGEXFER_SIGNS_BUNDLE may name a bundle of signs that is finished; without it one is made, which takes minutes.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from tests.acceptance.whole_way import whole_way

_REPOSITORY = Path(__file__).parents[2]


def data_root() -> Path | None:
    """The folder with hymenoptera/ and signs/, None where there is none."""
    given = os.environ.get("EDGEXFER_DATA")
    places = [Path(given)] if given else [_REPOSITORY.parent / "shared" / "data"]
    return next((place for place in places if place.is_dir()), None)


@pytest.fixture(scope="session")
def real_images() -> Callable[[str], Path]:
    """Returns a function that gives the folder of a data set by name, or skips."""

    def find(name: str) -> Path:
        pytest.importorskip("torch", reason="torch is not installed: pip install 'edgexfer[train]'")
        root = data_root()
        if root is None or not (root / name).is_dir():
            pytest.skip(f"the images of {name} are not here: set EDGEXFER_DATA to the folder that holds {name}/")
        return root / name

    return find


@pytest.fixture(scope="session")
def signs_made(
    real_images: Callable[[str], Path], tmp_path_factory: pytest.TempPathFactory
) -> Callable[[], tuple[Any, Any]]:
    """Returns a function that gives the checkpoint of signs and what export made of it; made once, or skips."""

    @cache
    def made() -> tuple[Any, Any]:
        return whole_way(real_images("signs"), tmp_path_factory.mktemp("signs"))

    return made


@pytest.fixture(scope="session")
def signs_bundle(real_images: Callable[[str], Path], signs_made: Callable[[], tuple[Any, Any]]) -> Path:
    """The folder of a bundle of signs for this CPU, not to be changed."""
    real_images("signs")
    given = os.environ.get("EDGEXFER_SIGNS_BUNDLE")
    return Path(given) if given else Path(signs_made()[1].bundle.folder)
