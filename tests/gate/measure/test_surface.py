"""surface: every combination of threads and batches, and streams, in one record."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from edgexfer.core.errors import DataError, SettingsError
from edgexfer.gate.measure.surface import surface
from tests.bundles import make_bundle


@pytest.fixture
def bundle(tmp_path: Path) -> Path:
    return make_bundle(tmp_path / "b.edgx", backend="fake", options={"latency_ms": 2.0})


def test_every_combination_is_measured_once_and_streams_beside(bundle: Path) -> None:
    seen: list[tuple[float, float]] = []
    found = surface(
        bundle, threads=[1, 1], batches=[1, 8], seconds=0.05, progress=lambda done, whole: seen.append((done, whole))
    )
    assert [(point.threads, point.batch, point.what) for point in found.points] == [
        (1, 1, "inference"),
        (1, 8, "inference"),
        (1, 16, "one by one"),
        (1, 16, "streamed"),
    ]
    for point in found.points:
        assert 2.0 <= point.p50_ms <= point.p95_ms
        assert point.images_per_s == pytest.approx(1e3 * point.batch / point.p50_ms)
    assert found.points[2].p50_ms >= 16 * 2.0  # each image waits for its own inference
    assert seen[-1] == (0.05, 0.05)


def test_the_record_names_the_ends_of_the_table(bundle: Path) -> None:
    found = surface(bundle, threads=[1], batches=[1, 8], seconds=0.05)
    record = json.loads(json.dumps(found.to_json(), allow_nan=False))
    assert record["kind"] == "surface"
    one, eight = found.points[:2]
    fastest = min((one, eight), key=lambda point: point.p50_ms)
    assert record["summary"]["lowest_latency"] == {"threads": 1, "batch": fastest.batch, "p50_ms": fastest.p50_ms}
    most = max((one, eight), key=lambda point: point.images_per_s)
    assert record["summary"]["most_images"] == {"threads": 1, "batch": most.batch, "images_per_s": most.images_per_s}
    assert len(record["points"]) == 4


@pytest.mark.parametrize(
    ("threads", "batches", "said"),
    [([0], [1], "threads is 0"), ([100_000], [1], "CPUs that this process may use"), ([1], [2000], "batch is 2000")],
)
def test_numbers_out_of_range_are_named(bundle: Path, threads: list[int], batches: list[int], said: str) -> None:
    with pytest.raises(SettingsError, match=said):
        surface(bundle, threads=threads, batches=batches)


def test_images_that_are_not_there(bundle: Path, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="does not exist"):
        surface(bundle, threads=[1], batches=[1], images=tmp_path / "nothing")
