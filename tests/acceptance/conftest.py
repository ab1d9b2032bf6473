"""Where the real images are: EDGEXFER_DATA, or shared/data beside the checkout; tests skip where they are absent."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

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
