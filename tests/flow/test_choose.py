"""What ships: the fastest that holds the accuracy, or what was asked for, and never in silence."""

from __future__ import annotations

import dataclasses
import platform

import pytest

from edgexfer.core.target import Target
from edgexfer.flow.choose import decide
from edgexfer.gate.judge.compare import Comparison
from edgexfer.gate.measure.evaluation import Evaluation, ImageResult
from edgexfer.gate.measure.latency import STEPS, Latency
from edgexfer.gate.measure.record import Subject

HERE = Target("t", "a machine under test", "ort", "ort", max_drop=0.01, host={"machine": platform.machine()})
ELSEWHERE = dataclasses.replace(HERE, host={"machine": "pdp-11"})
ANYWHERE = dataclasses.replace(HERE, host={})


def evaluated(precision: str, right: int) -> Evaluation:
    """An evaluation on 100 images, `right` of them right."""
    subject = Subject("t", "0" * 64, precision, "t", "ort", "ort 1", simulated=False)
    images = tuple(
        ImageResult(f"{i}.png", f"{i:064}", "test", "a", "a" if i < right else "b", 0.9, 0.9) for i in range(100)
    )
    return Evaluation(subject, "data", ("a", "b"), images)


def compared(ratio: float, doubt: float = 0.05) -> Comparison:
    subject = Subject("t", "0" * 64, "int8", "t", "ort", "ort 1", simulated=False)
    latency = Latency(subject, "none", dict.fromkeys(STEPS, (1, 1)), warmup=1)
    return Comparison(latency, latency, "inference", ratio, ratio - doubt, ratio + doubt)


def decided(
    floats: int, ints: int, ratio: float | None = 0.5, *, target: Target = HERE, wanted: str = "auto"
) -> tuple[str, str, str]:
    """What ships, why, and all warnings."""
    clock = None if ratio is None else compared(ratio)
    found = {"float32": evaluated("float32", floats), "int8": evaluated("int8", ints)}
    shipped, decision, doubts = decide(found, lambda *_: clock, target, wanted)
    assert decision.startswith(shipped)
    return shipped, decision, "; ".join(doubts)


def decided_of_three(right: dict[str, int], milliseconds: dict[str, float] | None) -> tuple[str, str, str]:
    """What ships of FP16 and two kinds of INT8, whose latencies are known to 5 %."""

    def time(candidate: str, against: str) -> Comparison | None:
        if milliseconds is None:
            return None
        ratio = milliseconds[candidate] / milliseconds[against]
        return compared(ratio, 0.05 * ratio)

    names = ("float16", "int8-depthwise-float16", "int8")
    shipped, decision, doubts = decide({name: evaluated(name, right[name]) for name in names}, time, HERE, "auto")
    assert decision.startswith(shipped)
    return shipped, decision, "; ".join(doubts)


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
    found = decide({"int8": evaluated("int8", 50)}, lambda *_: None, HERE, "auto")
    assert found == ("int8", "int8 ships: nothing else was asked for", ())


ALL_RIGHT = {"float16": 98, "int8-depthwise-float16": 98, "int8": 98}


def test_depthwise_layers_in_fp16_ship_where_int8_has_no_good_kernel_for_them() -> None:
    shipped, decision, doubts = decided_of_three(
        ALL_RIGHT, {"float16": 1.0, "int8-depthwise-float16": 0.7, "int8": 0.9}
    )
    assert shipped == "int8-depthwise-float16"
    assert "INT8 with depthwise layers in FP16 has the same top-1 as FP16" in decision
    assert "1.43 times faster" in decision
    assert doubts == "INT8 was not shipped: INT8 with depthwise layers in FP16 is faster here"


def test_of_two_that_are_as_fast_the_smaller_ships() -> None:
    shipped, _, doubts = decided_of_three(ALL_RIGHT, {"float16": 1.0, "int8-depthwise-float16": 0.7, "int8": 0.71})
    assert (shipped, doubts) == ("int8", "")


def test_fp16_ships_where_all_of_int8_is_slower_or_worse() -> None:
    right = {**ALL_RIGHT, "int8": 90}
    shipped, decision, doubts = decided_of_three(right, {"float16": 1.0, "int8-depthwise-float16": 1.3, "int8": 0.5})
    assert shipped == "float16"
    assert "INT8 loses 8.00 points of top-1, the limit is 1.00" in decision
    assert "INT8 with depthwise layers in FP16 holds the accuracy and is 1.30 times slower" in decision
    assert "INT8 with depthwise layers in FP16 was not shipped: it is slower here" in doubts
    assert "INT8 was not shipped: INT8 loses 8.00 points" in doubts


def test_without_a_clock_the_smallest_that_holds_the_accuracy_ships() -> None:
    assert decided_of_three(ALL_RIGHT, None)[0] == "int8"
    assert decided_of_three({**ALL_RIGHT, "int8": 90}, None)[0] == "int8-depthwise-float16"


def test_the_most_precise_ships_where_it_is_asked_for() -> None:
    assert decided(98, 98, wanted="float32") == ("float32", "float32 ships, as asked", "")
