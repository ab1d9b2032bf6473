"""Records that somebody has spoiled are used or refused, never anything else. The long run is records.py, runs.py."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from tests.hostile.records import RECORDS, Record, attempt, spoiled

_QUICK = sorted(name for name in RECORDS if not name.startswith("report"))
_OF_RUNS = ("exemplars", "plan", "rate", "state")
_SEEDS = 60


def tried(record: Record, folder: Path) -> set[str]:
    record.make(folder)
    place = folder / record.file
    whole = place.read_bytes()
    came = {attempt(record, folder)}
    assert came == {"used"}
    for seed in range(_SEEDS):
        place.write_bytes(spoiled(whole, random.Random(seed)))
        came.add(attempt(record, folder))
    return came


@pytest.mark.parametrize("name", _QUICK)
def test_a_spoiled_record_is_used_or_refused(name: str, tmp_path: Path) -> None:
    if name == "signatures":
        pytest.importorskip("cryptography", reason="cryptography is not installed (pip install 'edgexfer[sign]')")
    assert tried(RECORDS[name], tmp_path) <= {"used", "refused"}


@pytest.mark.train
@pytest.mark.parametrize("name", _OF_RUNS)
def test_a_spoiled_record_of_a_run_is_used_or_refused(name: str, tmp_path: Path) -> None:
    from tests.hostile.runs import RUNS

    assert tried(RUNS[name], tmp_path) <= {"used", "refused"}
