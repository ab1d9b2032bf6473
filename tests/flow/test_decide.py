"""What export ships: the fastest that holds the accuracy, or what was asked for, and never in silence."""

from __future__ import annotations

import dataclasses
import platform

import pytest

from edgexfer.core.target import Precision, Target
from edgexfer.flow.export import _decide
from edgexfer.gate.compare import Comparison
from edgexfer.gate.evaluation import Evaluation, ImageResult
from edgexfer.gate.latency import STEPS, Latency
from edgexfer.gate.measured import Measured
from edgexfer.gate.record import Subject

pytestmark = pytest.mark.train

HERE = Target("t", "a machine under test", "ort", "ort", max_drop=0.01, host={"machine": platform.machine()})
ELSEWHERE = dataclasses.replace(HERE, host={"machine": "pdp-11"})
ANYWHERE = dataclasses.replace(HERE, host={})


def measured(precision: str, right: int) -> Measured:
    """An evaluation on 100 images, `right` of them right."""
    subject = Subject("t", "0" * 64, precision, "t", "ort", "ort 1", simulated=False)
    images = tuple(
        ImageResult(f"{i}.png", f"{i:064}", "test", "a", "a" if i < right else "b", 0.9, 0.9) for i in range(100)
    )
    return Measured(precision, Evaluation(subject, "data", ("a", "b"), images), None, 1, shipped=False)


def compared(ratio: float, doubt: float = 0.05) -> Comparison:
    subject = Subject("t", "0" * 64, "int8", "t", "ort", "ort 1", simulated=False)
    latency = Latency(subject, "none", dict.fromkeys(STEPS, (1, 1)), warmup=1)
    return Comparison(latency, latency, "inference", ratio, ratio - doubt, ratio + doubt)


def decided(
    floats: int, ints: int, ratio: float | None = 0.5, *, target: Target = HERE, wanted: Precision = "auto"
) -> tuple[str, str, str]:
    """What ships, why, and all warnings."""
    records = [measured("float32", floats), measured("int8", ints)]
    index, decision, doubts = _decide(records, None if ratio is None else compared(ratio), target, wanted)
    assert decision.startswith(records[index].precision)
    return records[index].precision, decision, "; ".join(doubts)


@pytest.mark.parametrize(
    ("floats", "ints", "words"),
    [
        (98, 98, "INT8 has the same top-1 as float (the limit is 1.00)"),
        (98, 97, "INT8 loses 1.00 points of top-1 (the limit is 1.00)"),
        (98, 99, "INT8 gains 1.00 points of top-1 (the limit is 1.00)"),
    ],
)
def test_int8_that_holds_the_accuracy_and_is_faster_ships(floats: int, ints: int, words: str) -> None:
    shipped, decision, doubts = decided(floats, ints)
    assert (shipped, doubts) == ("int8", "")
    assert words in decision
    assert "2.00 times faster in inference time" in decision


def test_int8_that_loses_too_much_does_not_ship_however_fast() -> None:
    shipped, decision, doubts = decided(98, 96, 0.1)
    assert shipped == "float32"
    assert decision == "float32 ships: INT8 loses 2.00 points of top-1, the limit is 1.00"
    assert doubts == "INT8 was not shipped: INT8 loses 2.00 points of top-1, the limit is 1.00"


def test_int8_that_is_surely_slower_does_not_ship() -> None:
    shipped, decision, doubts = decided(98, 98, 1.5)
    assert shipped == "float32"
    assert "1.50 times slower in inference time" in decision
    assert doubts == "INT8 was not shipped: it is slower here"


def test_int8_of_which_no_difference_can_be_told_ships() -> None:
    shipped, decision, doubts = decided(98, 98, 1.02)
    assert (shipped, doubts) == ("int8", "")
    assert "no difference in inference time can be told" in decision


@pytest.mark.parametrize("ratio", [1.5, None])
def test_the_clock_of_another_kind_of_machine_decides_nothing(ratio: float | None) -> None:
    shipped, decision, doubts = decided(98, 98, ratio, target=ELSEWHERE)
    assert (shipped, doubts) == ("int8", "")
    assert "slower" not in decision
    assert decided(98, 90, ratio, target=ELSEWHERE)[0] == "float32"


def test_a_target_that_names_no_machine_is_judged_here() -> None:
    assert decided(98, 98, 1.5, target=ANYWHERE)[0] == "float32"


def test_int8_that_is_asked_for_ships_with_every_doubt_said() -> None:
    assert decided(98, 98, wanted="int8")[::2] == ("int8", "")
    shipped, decision, doubts = decided(98, 90, 1.5, wanted="int8")
    assert shipped == "int8"
    assert decision.startswith("int8 ships, as asked: INT8 loses 8.00 points of top-1")
    assert "the limit is 1.00: it ships because precision int8 was asked for" in doubts
    assert "INT8 is slower than float here: 1.50 times slower" in doubts


def test_a_single_candidate_ships() -> None:
    assert _decide([measured("int8", 50)], None, HERE, "auto") == (0, "int8 ships: nothing else was asked for", ())
