"""expected: what a bundle says of its answers at export."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgexfer.core.errors import ArtifactError
from edgexfer.core.expected import SCORE_EDGES, Expected, count_answers, expected_of

ANSWERS = [("a", 0.05), ("a", 0.1), ("b", 0.95), ("a", 1.0)]


def record(**other: Any) -> dict[str, Any]:
    return {"precisions": {"int8": {**count_answers(ANSWERS, "test").to_json(), **other}}}


def test_what_is_counted() -> None:
    found = count_answers(ANSWERS, "test")
    assert found == Expected(4, {"a": 3, "b": 1}, SCORE_EDGES, (1, 1, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 1), "test")
    assert expected_of(record(), "int8", "b.edgx") == found


@given(st.lists(st.tuples(st.sampled_from("abc"), st.floats(0, 1))))
def test_every_answer_is_counted_once(answers: list[tuple[str, float]]) -> None:
    found = count_answers(answers)
    assert sum(found.scores) == sum(found.classes.values()) == found.images == len(answers)


def test_older_bundles_and_other_precisions_say_nothing() -> None:
    assert expected_of(None, "int8", "b.edgx") is None
    assert expected_of(record(), "float32", "b.edgx") is None


@pytest.mark.parametrize(
    "broken",
    [
        [],
        {},
        {"precisions": []},
        {"precisions": {"int8": 3}},
        record(images=5),
        record(images=True),
        record(classes={"a": -1, "b": 5}),
        record(classes={"a": 1.5, "b": 2.5}),
        record(classes=[]),
        record(scores=[4]),
        record(score_edges=[0.5] * len(SCORE_EDGES)),
        record(images=0, classes={}, scores=[0] * (len(SCORE_EDGES) + 1)),
    ],
)
def test_what_is_no_record_is_refused(broken: Any) -> None:
    with pytest.raises(ArtifactError, match=r"b\.edgx: 'expected' in its manifest is not a record of answers"):
        expected_of(broken, "int8", "b.edgx")
