"""What hypothesis makes of a bundle's files: opened or refused, never anything else. The long run is long.py."""

from __future__ import annotations

import random
from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from edgexfer.core.network_file import why_refused
from tests.hostile.long import KINDS, attempt, mutated, spoil

EXAMPLES = settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])


@pytest.mark.parametrize("kind", KINDS)
@EXAMPLES
@given(seed=st.integers(0, 2**32))
def test_a_mutation_is_opened_or_refused(kind: str, bundle_folder: Path, tmp_path: Path, seed: int) -> None:
    dice = random.Random(seed)
    place = spoil(bundle_folder, tmp_path / "spoiled.edgx", kind, lambda data: mutated(data, dice), dice)
    assert attempt(place) in ("opened", "refused")


@settings(max_examples=300)
@given(data=st.binary(max_size=200))
def test_any_bytes_are_a_network_or_not(data: bytes) -> None:
    with suppress(ValueError, IndexError):
        assert isinstance(why_refused(data), str)
