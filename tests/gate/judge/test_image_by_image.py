from __future__ import annotations

from collections.abc import Iterable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgexfer.core.errors import SettingsError
from edgexfer.gate.accuracy import wilson_interval
from edgexfer.gate.judge import accuracy_change
from edgexfer.gate.judge.image_by_image import judge_answers
from edgexfer.gate.judge.limits import Limit, limits_of, parse_limit
from edgexfer.gate.judge.verdict import Verdict
from tests.gate.answers import LABELS, evaluation, truth, with_mistakes
from tests.gate.baselines import answers, make_baseline


@pytest.fixture(autouse=True)
def _fewer_resamples(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(accuracy_change, "RESAMPLES", 500)  # 2,000 say the same in four times the time


def limit(key: str, value: object) -> Limit:
    found = parse_limit(key, value, "a test")
    assert found is not None
    return found


def judged(key: str, value: object, images: int, lost: Iterable[int] = (), won: Iterable[int] = ()) -> Verdict:
    new = evaluation(truth(images), with_mistakes(images, lost))
    old = evaluation(truth(images), with_mistakes(images, won), digits=16, bundle="old")
    (verdict,) = judge_answers(limit(key, value), new, old)
    return verdict


def test_nine_lost_images_of_310_fail_at_one_point() -> None:
    verdict = judged("top1.max_regress", "1%", 310, lost=range(9))
    assert verdict.outcome == "fail"
    assert verdict.reason == (
        "9 of 310 images lost and none won: 2.9 points less (p = 0.002); the limit is at most 1 point below "
        "the baseline"
    )
    assert (verdict.value, verdict.reference) == (301 / 310, 1.0)
    assert verdict.change == pytest.approx(-9 / 310)
    assert verdict.low is not None
    assert verdict.high is not None
    assert verdict.low < -9 / 310 < verdict.high < 0
    assert verdict.evidence == {
        "images": 310, "lost": 9, "won": 0, "p_value": pytest.approx(2**-9), "alpha": 0.05, "confidence": 0.9,
    }  # fmt: skip


def test_one_lost_image_of_300_passes_and_says_what_the_set_cannot_show() -> None:
    verdict = judged("top1.max_regress", "1%", 300, lost=[7])
    assert verdict.outcome == "pass"
    assert verdict.reason == (
        "1 of 300 images lost and none won: 0.3 points less; the limit is at most 1 point below the baseline, but "
        "these images show nothing below 1.7 points: the limit itself takes at least 500"
    )


def test_a_drop_that_may_be_chance_is_inconclusive_and_says_how_many_images_would_tell() -> None:
    verdict = judged("top1.max_drop", "1%", 300, lost=range(4))
    assert verdict.outcome == "inconclusive"
    assert "which may be chance (p = 0.062)" in verdict.reason
    assert "below the float network" in verdict.reason
    assert verdict.reason.endswith("about 462 images would tell")


def test_three_of_300_are_no_more_than_one_point() -> None:
    assert judged("top1.max_regress", 0.01, 300, lost=range(3)).outcome == "pass"
    assert judged("macro_f1.max_regress", 0.01, 300, lost=range(3)).outcome == "pass"


def test_many_lost_and_as_many_won_are_no_drop_but_hide_one() -> None:
    verdict = judged("top1.max_regress", "1%", 310, lost=range(10), won=range(10, 20))
    assert (verdict.outcome, verdict.change) == ("pass", 0)
    assert "nothing below 3.2 points: the limit itself takes at least 1000" in verdict.reason


def test_a_large_set_passes_without_a_but() -> None:
    verdict = judged("top1.max_regress", "1%", 3000, lost=range(4))
    assert verdict.outcome == "pass"
    assert verdict.reason.endswith("the limit is at most 1 point below the baseline")


@pytest.mark.parametrize(("images", "outcome"), [(4, "inconclusive"), (49, "inconclusive"), (50, "pass")])
def test_a_set_far_too_small_for_the_limit_never_passes(images: int, outcome: str) -> None:
    verdict = judged("top1.max_regress", "1%", images)
    assert verdict.outcome == outcome
    if outcome == "inconclusive":
        assert f"{images} images cannot show that, it takes at least 500" in verdict.reason


def test_a_small_set_fails_all_the_same_where_the_drop_is_plain() -> None:
    assert judged("top1.max_regress", "1%", 40, lost=range(9)).outcome == "fail"


def test_a_limit_of_nothing_at_all() -> None:
    assert judged("top1.max_regress", 0, 40).outcome == "pass"
    assert judged("top1.max_regress", 0, 4).outcome == "inconclusive"
    assert judged("top1.max_regress", 0, 40, lost=[1]).outcome == "inconclusive"
    assert judged("top1.max_regress", 0, 4000, lost=range(5)).outcome == "fail"


def test_all_wrong_on_both_sides_is_no_change() -> None:
    verdict = judged("top1.max_regress", "1%", 100, lost=range(100), won=range(100))
    assert (verdict.outcome, verdict.value, verdict.change) == ("pass", 0, 0)
    assert judged("top1.max_regress", "1%", 100, lost=range(100)).change == -1


@settings(max_examples=60, deadline=None)
@given(st.integers(5, 400), st.data())
def test_getting_better_never_fails_and_the_other_way_round_mirrors(images: int, data: st.DataObject) -> None:
    wrong = st.sets(st.integers(0, images - 1), max_size=images)
    mine, other = data.draw(wrong), data.draw(wrong)
    there = judged("top1.max_regress", "1%", images, lost=mine, won=other)
    back = judged("top1.max_regress", "1%", images, lost=other, won=mine)
    assert there.change is not None
    assert back.change == -there.change
    assert (there.value, there.reference) == (back.reference, back.value)
    assert [there.low, there.high] == pytest.approx([-(back.high or 0), -(back.low or 0)], abs=1e-9)
    assert "fail" not in {found.outcome for found in (there, back) if (found.change or 0) >= 0}
    assert there.outcome != "pass" or there.change >= -0.01 - 1e-9
    assert there.outcome != "fail" or there.evidence["p_value"] <= 0.05


@pytest.mark.parametrize(
    ("key", "lost", "won", "outcome"),
    [
        ("macro_f1.max_drop", range(9), (), "fail"),
        ("macro_f1.max_drop", (1,), (), "pass"),
        ("macro_f1.max_drop", range(3, 7), range(2), "pass"),
        ("macro_f1.max_drop", (), range(9), "pass"),
        ("calibration_error.max_regress", range(30), (), "pass"),  # too sure of too little before, less so now
    ],
)
def test_other_figures_are_resampled(key: str, lost: Iterable[int], won: Iterable[int], outcome: str) -> None:
    verdict = judged(key, "1%", 310, lost=lost, won=won)
    assert verdict.outcome == outcome
    assert verdict.evidence["resamples"] == 500
    assert verdict.change is not None
    assert verdict.low is not None
    assert verdict.high is not None
    assert verdict.low <= verdict.change <= verdict.high
    assert verdict == judged(key, "1%", 310, lost=lost, won=won)


def test_four_lost_images_are_significant_to_no_figure() -> None:
    # A bootstrap alone would say so: its interval excludes none with four images, McNemar asks for five.
    verdict = judged("macro_f1.max_drop", 0, 310, lost=range(4))
    assert verdict.outcome == "inconclusive"
    assert verdict.high is not None
    assert verdict.high < 0


def test_a_calibration_error_regresses_by_growing() -> None:
    sure, unsure = [0.99] * 310, [0.95] * 310
    said = with_mistakes(310, range(0, 310, 20))
    honest = evaluation(truth(310), said, scores=unsure)
    flattering = evaluation(truth(310), said, scores=sure)
    (worse,) = judge_answers(limit("calibration_error.max_regress", "2%"), flattering, honest)
    assert (worse.outcome, worse.change) == ("fail", pytest.approx(0.04, abs=0.001))
    assert "4 points more on 310 images (p = 0.002)" in worse.reason
    assert judge_answers(limit("calibration_error.max_regress", "2%"), honest, flattering)[0].outcome == "pass"


def test_the_recall_of_each_class_is_judged_for_itself() -> None:
    new = evaluation(truth(300), with_mistakes(300, range(0, 60, 3)))
    verdicts = judge_answers(limit("recall.max_regress", "5%"), new, evaluation(truth(300), truth(300)))
    assert [(v.limit.label, v.outcome, v.value) for v in verdicts] == [
        ("go", "fail", 0.8),
        ("left", "pass", 1.0),
        ("stop", "pass", 1.0),
    ]
    assert verdicts[0].limit.key == "recall:go.max_regress"
    assert verdicts[0].evidence["judged_together"] == 3
    assert verdicts[0].evidence["p_value"] == pytest.approx(3 * 2**-20)
    assert verdicts[0].evidence["confidence"] == pytest.approx(1 - 0.1 / 3)


def test_a_class_is_judged_less_sharply_as_one_of_many_than_alone() -> None:
    labels = [f"sign {number}" for number in range(43)]
    said = with_mistakes(43 * 30, range(0, 43 * 7, 43), classes=43)  # seven images of the first class
    new = evaluation(truth(43 * 30, 43), said, labels=labels)
    old = evaluation(truth(43 * 30, 43), truth(43 * 30, 43), labels=labels)
    every = judge_answers(limit("recall.max_regress", "10%"), new, old)
    assert len(every) == 43
    assert every[0].reason.endswith("images of this class would tell")
    assert {verdict.outcome for verdict in every} == {"inconclusive", "pass"}
    assert every[0].outcome == "inconclusive"
    (alone,) = judge_answers(limit("recall:sign 0.max_regress", "10%"), new, old)
    assert alone.outcome == "fail"


def test_a_class_without_images_is_left_out_unless_it_is_named() -> None:
    new = evaluation([0, 1] * 50, [0, 1] * 50)
    for kind, value in (("max_regress", "10%"), ("min", 0.5)):
        assert [v.limit.label for v in judge_answers(limit(f"recall.{kind}", value), new, new)] == ["go", "left"]
        (named,) = judge_answers(limit(f"recall:stop.{kind}", value), new, new)
        assert (named.outcome, named.reason) == ("inconclusive", "no image is of the class 'stop'")


def test_a_class_that_does_not_exist_is_a_mistake() -> None:
    new = evaluation(truth(9), truth(9))
    with pytest.raises(SettingsError, match="no class 'stopp'") as caught:
        judge_answers(limit("recall:stopp.min", 0.5), new, None)
    assert "did you mean 'stop'?" in caught.value.hint


def test_absolute_limits_hold_against_the_figure_as_it_is() -> None:
    new = evaluation(truth(310), with_mistakes(310, range(10)))
    (held,) = judge_answers(limit("top1.min", "96%"), new, None)
    (broken,) = judge_answers(limit("top1.min", "97%"), new, None)
    assert (held.outcome, broken.outcome) == ("pass", "fail")
    assert broken.reason == "300 of 310 images right: 96.77 %; the limit is at least 97 %"
    assert (broken.low, broken.high) == wilson_interval(300, 310)
    assert (broken.change, broken.reference) == (None, None)
    assert judge_answers(limit("top1.min", 300 / 310), new, None)[0].outcome == "pass"
    (error,) = judge_answers(limit("calibration_error.max", "5%"), new, None)
    assert (error.outcome, error.value, error.low) == ("fail", pytest.approx(0.0677, abs=0.0001), None)
    recalls = judge_answers(limit("recall.min", "97%"), new, None)
    assert [(v.limit.label, v.outcome) for v in recalls] == [("go", "fail"), ("left", "pass"), ("stop", "pass")]


def test_a_missing_reference_is_inconclusive_with_the_reason() -> None:
    new = evaluation(truth(99), truth(99))
    for key in ("top1.max_drop", "top1.max_regress", "recall.max_regress"):
        (verdict,) = judge_answers(limit(key, "1%"), new, None, missing="it was eaten: cook another")
        assert (verdict.outcome, verdict.reason) == ("inconclusive", "it was eaten: cook another")


def test_no_image_is_inconclusive() -> None:
    for key, value in (("top1.min", 0), ("top1.max_regress", "1%"), ("recall.min", 0), ("macro_f1.max_drop", 0.1)):
        (verdict,) = judge_answers(limit(key, value), evaluation([], []), evaluation([], []))
        assert (verdict.outcome, verdict.reason) == ("inconclusive", "there is no image that may judge")


def test_the_common_images_judge_where_they_are_at_least_half() -> None:
    new, old = evaluation(truth(600), with_mistakes(600, range(9))), evaluation(truth(300), truth(300))
    (half,) = judge_answers(limit("top1.max_regress", "1%"), new, old)
    assert (half.outcome, half.evidence["images"]) == ("fail", 300)
    more = evaluation(truth(601), with_mistakes(601, range(9)))
    (less,) = judge_answers(limit("top1.max_regress", "1%"), more, old)
    assert less.outcome == "inconclusive"
    assert "only 300 of 601 images were also answered by the baseline" in less.reason
    assert less.evidence == {"images": 300, "asked": 601}


@pytest.mark.parametrize("key", ["recall", "recall:stop"])
def test_a_class_that_only_the_candidate_answered_is_inconclusive_and_never_absent(key: str) -> None:
    every = truth(90)
    new = evaluation(every, [0 if said == 2 else said for said in every])  # every "stop" is wrong now
    kept = [number for number in range(90) if number % 3 != 2]
    old = evaluation([every[n] for n in kept], [every[n] for n in kept], names=[f"{n}.png" for n in kept])
    *others, stop = judge_answers(limit(f"{key}.max_regress", "10%"), new, old)
    assert [verdict.limit.label for verdict in others] == (["go", "left"] if key == "recall" else [])
    assert {verdict.evidence["judged_together"] for verdict in others} <= {2}
    assert (stop.limit.label, stop.outcome) == ("stop", "inconclusive")
    assert "only 0 of 30 images of this class were also answered by the baseline" in stop.reason
    (whole,) = judge_answers(limit("top1.max_regress", "10%"), new, old)
    assert whole.outcome == "pass"
    assert whole.reason.endswith("(on the 60 of 90 images that the baseline answered too)")
    assert (whole.evidence["images"], whole.evidence["asked"]) == (60, 90)


def test_a_class_of_which_most_images_are_left_out_is_inconclusive() -> None:
    new = evaluation(truth(300), truth(300))
    kept = [number for number in range(300) if number % 3 or number < 120]
    old = evaluation([n % 3 for n in kept], [n % 3 for n in kept], names=[f"{n}.png" for n in kept])
    go, left, stop = judge_answers(limit("recall.max_regress", "10%"), new, old)
    assert (go.outcome, go.evidence) == ("inconclusive", {"images": 40, "asked": 100})
    assert {left.outcome, stop.outcome} == {"pass"}
    assert "images that the baseline" not in left.reason


@pytest.mark.parametrize("own", ["0.5", "off"])
def test_a_class_with_a_limit_of_its_own_is_judged_by_that_alone(own: str) -> None:
    new = evaluation(truth(90), with_mistakes(90, range(0, 30, 3)))  # ten of thirty "go" are wrong
    limits = limits_of({"recall": {"min": 0.99}}, [f"recall:go.min={own}"])
    found = [verdict for one in limits if one.metric == "recall" for verdict in judge_answers(one, new, None)]
    expected = {"recall:left.min": "pass", "recall:stop.min": "pass"} | (
        {} if own == "off" else {"recall:go.min": "pass"}
    )
    assert {verdict.limit.key: verdict.outcome for verdict in found} == expected
    assert len(found) == len(expected)


def test_a_general_limit_that_no_class_is_left_for_says_nothing() -> None:
    own = [f"recall:{label}.{kind}=50%" for label in LABELS for kind in ("min", "max_regress")]
    limits = limits_of({"recall": {"min": 0.99, "max_regress": 0}}, own)
    new = evaluation(truth(90), truth(90))
    general = [one for one in limits if one.metric == "recall" and one.label is None]
    assert [judge_answers(one, new, new) for one in general] == [(), ()]


@pytest.mark.parametrize("key", ["top1", "macro_f1", "calibration_error", "recall"])
def test_a_baseline_file_says_the_same_as_the_answers_that_it_keeps(key: str) -> None:
    candidate, old = answers(images=300, wrong=12), answers(images=300, wrong=2)
    kept = make_baseline(evaluation=old).evaluation()
    asked = limit(f"{key}.max_regress", "1%")
    found = judge_answers(asked, candidate, kept)
    assert found == judge_answers(asked, candidate, old)
    assert {verdict.outcome for verdict in judge_answers(asked, old, kept)} <= {"pass", "inconclusive"}
    assert all(verdict.change == 0 for verdict in judge_answers(asked, old, kept))


def test_one_class_alone() -> None:
    new = evaluation([0] * 100, [0] * 100, labels=LABELS[:1])
    for key in ("top1.max_regress", "macro_f1.max_regress", "recall.max_regress", "calibration_error.max_regress"):
        (verdict,) = judge_answers(limit(key, "5%"), new, new)
        assert (verdict.outcome, verdict.change) == ("pass", 0)
