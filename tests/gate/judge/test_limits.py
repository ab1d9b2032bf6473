from __future__ import annotations

import pytest

from edgexfer.core.errors import SettingsError
from edgexfer.gate.judge.limits import limits_of, parse_limit


@pytest.mark.parametrize(
    ("key", "value", "hint"),
    [
        ("top1.max_drop", 2, "write 2% or 0.02"),
        ("top1.max_regress", "1", "write 1% or 0.01"),
        ("recall:stop.max_regress", 5.5, "write 5.5% or 0.055"),
        ("macro_f1.max_drop", "100%", ""),
        ("top1.min", 95, "write 95% or 0.95"),
        ("top1.min", 1.01, "write 1.01% or 0.0101"),
        ("calibration_error.max", "150%", ""),
        ("top1.min", -0.5, ""),
        ("top1.min", 950, ""),
    ],
)
def test_a_fraction_beyond_all_is_refused(key: str, value: object, hint: str) -> None:
    with pytest.raises(SettingsError, match="expected 0 to 1, or 0% to 100%") as caught:
        parse_limit(key, value, "--set")
    assert caught.value.hint == hint
    with pytest.raises(SettingsError):
        limits_of({}, [f"{key}={value}"])


@pytest.mark.parametrize(
    ("key", "value", "number"),
    [
        ("top1.min", 1, 1.0),
        ("top1.min", "100%", 1.0),
        ("calibration_error.max", 0, 0.0),
        ("top1.max_drop", "99%", 0.99),
        ("latency_p50_ms.max_regress", "150%", 1.5),
        ("latency_p50_ms.max_regress", 2, 2.0),
    ],
)
def test_what_can_be_meant_is_taken(key: str, value: object, number: float) -> None:
    limit = parse_limit(key, value, "--set")
    assert limit is not None
    assert limit.value == number


@pytest.mark.parametrize("label", ["a=b", "=", "a.b", "a: b=c.min"])
def test_a_label_may_hold_what_parts_a_setting(label: str) -> None:
    limit = limits_of({}, [f"recall:{label}.min = 0.9"])[-1]
    assert (limit.label, limit.kind, limit.value) == (label, "min", 0.9)


def test_the_limit_for_each_class_knows_which_have_their_own() -> None:
    gates = {"recall:stop": {"min": 0.5}, "recall": {"min": 0.9, "max_drop": 0.1}}
    found = {one.key: one for one in limits_of(gates, ["recall:go.min=off", "recall:a.b.max_drop=1%"])}
    assert found["recall.min"].except_labels == ("stop", "go")
    assert found["recall.max_drop"].except_labels == ("a.b",)
    assert found["recall:stop.min"].except_labels == ()
    assert "recall:go.min" not in found
    assert found["top1.max_drop"].except_labels == ()
