"""Unknown: the threshold keeps the share that was asked for, on images that it has not seen too."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgexfer import Prediction
from edgexfer.core.bundle import open_bundle
from edgexfer.core.errors import ArtifactError, SettingsError
from edgexfer.core.manifest import read_manifest, write_manifest
from edgexfer.core.unknown import check_known_share, images_needed, known_from, threshold_of

GOLDEN = Path(__file__).parents[1] / "golden" / "bundle" / "unknown_1.json"
FLOATS = st.floats(0, 1, width=32)


def rewritten(folder: Path, unknown: object) -> Path:
    """The bundle with `unknown` in its manifest; None takes the key out."""
    own = ("kind", "format_version", "digest", "files", "unknown")
    kept = {key: value for key, value in read_manifest(folder, "bundle").items() if key not in own}
    write_manifest(folder, "bundle", kept if unknown is None else {**kept, "unknown": unknown})
    return folder


@given(st.lists(FLOATS, min_size=1, max_size=300), st.floats(0.5, 1))
def test_no_more_than_the_rest_becomes_unknown(scores: list[float], share: float) -> None:
    found = np.array(scores, np.float32)
    threshold = known_from(found, share)
    assert threshold in found
    assert (found < np.float32(threshold)).sum() <= (1 - share) * len(found)


def test_it_keeps_its_word_on_images_that_it_has_not_seen() -> None:
    random = np.random.default_rng(0)
    for images, share in ((19, 0.95), (100, 0.95), (300, 0.9), (5, 0.8)):
        kept = []
        for _ in range(2000):
            scores = random.beta(8, 1, images + 1).astype(np.float32)
            kept.append(scores[-1] >= known_from(scores[:-1], share))
        assert share - 0.02 < np.mean(kept) < share + 0.04


@pytest.mark.parametrize(("share", "needed"), [(0.95, 19), (0.9, 9), (0.99, 99), (0.5, 1), (1, 0)])
def test_how_many_images_a_promise_takes(share: float, needed: int) -> None:
    assert images_needed(share) == needed
    scores = np.linspace(0.5, 1, needed or 3, dtype=np.float32)
    assert known_from(scores, share) == scores[0]


def test_with_few_images_all_of_them_stay_known() -> None:
    assert known_from(np.array([0.9, 0.7, 0.8], np.float32), 0.95) == pytest.approx(0.7)
    assert known_from(np.array([1.0], np.float32)) == 1.0


@pytest.mark.parametrize("share", [0.0, 0.49, 1.01, float("nan")])
def test_a_share_out_of_range_is_named(share: float) -> None:
    with pytest.raises(SettingsError, match=r"expected 0\.5 to 1"):
        check_known_share(share)


def test_a_prediction_knows_its_threshold() -> None:
    row = np.array([0.7, 0.3], np.float32)
    assert not Prediction(row, ("a", "b")).unknown
    assert not Prediction(row, ("a", "b"), float(row[0])).unknown
    assert Prediction(row, ("a", "b"), 0.71).unknown
    assert Prediction(np.full(2, np.nan, np.float32), ("a", "b"), 0.1).unknown


def test_the_record_of_format_1_is_read(bundle_folder: Path) -> None:
    record = json.loads(GOLDEN.read_bytes())
    assert {name: threshold_of(record, name, "it") for name in ("int8", "float32", "float16")} == {
        "int8": 0.8536,
        "float32": 0.862,
        "float16": None,
    }
    assert open_bundle(rewritten(bundle_folder, record)).known_from == 0.862
    assert open_bundle(rewritten(bundle_folder, None)).known_from is None


@pytest.mark.parametrize(
    ("spoiled", "text"),
    [
        ([], "not a record of thresholds"),
        ({"score": "max_probability"}, "not a record of thresholds"),
        ({"score": "energy", "precisions": {}}, "by 'energy', this edgexfer by max_probability"),
        (
            {"score": "max_probability", "precisions": {"float32": {"known_from": 1.5}}},
            "is 1.5, expected a probability",
        ),
        ({"score": "max_probability", "precisions": {"float32": {"known_from": "1"}}}, "expected a probability"),
        ({"score": "max_probability", "precisions": {"float32": 0.5}}, "expected a probability"),
    ],
)
def test_a_record_that_is_none_is_refused(bundle_folder: Path, spoiled: object, text: str) -> None:
    rewritten(bundle_folder, spoiled)
    with pytest.raises(ArtifactError, match=text) as caught:
        open_bundle(bundle_folder)
    assert "export the bundle again" in caught.value.hint
