"""What a sweep searches: read, checked, drawn from."""

from __future__ import annotations

from typing import Any

import pytest

from edgexfer.core.errors import SettingsError
from edgexfer.flow.sweep.space import Choices, Range, draw, first_of, read_space, space_json
from edgexfer.train.settings import FinetuneSettings

PLAIN = FinetuneSettings()
TABLE = {
    "backbone": ["efficientnet-lite0", "mobilenetv2-050"],
    "input_size": [64, 96],
    "strategy": ["finetune", "linear-probe"],
    "learning_rate": {"low": 1e-5, "high": 1e-3, "log": True},
    "patience": {"low": 1, "high": 4},
}


class Drawn:
    """A trial that takes the last choice, or the lower bound."""

    def suggest_categorical(self, _: str, values: tuple[Any, ...]) -> Any:
        return values[-1]

    def suggest_int(self, _: str, low: int, high: int, *, log: bool) -> int:
        assert low < high
        assert not log
        return low

    def suggest_float(self, _: str, low: float, high: float, *, log: bool) -> float:
        assert log
        return low * 1.23456 if low * 1.23456 < high else low


def test_choices_and_ranges_are_read_and_written_alike() -> None:
    space = read_space(TABLE, PLAIN, "mine.toml")
    assert space["input_size"] == Choices((64, 96))
    assert space["learning_rate"] == Range(1e-5, 1e-3, log=True)
    assert read_space(space_json(space), PLAIN, "again") == space


@pytest.mark.parametrize(
    ("table", "words"),
    [
        ({"learning_rat": [1e-3]}, "did you mean 'learning_rate'"),
        ({"seed": [0, 1]}, "cannot be searched"),
        ({"near_duplicates": ["together", "apart"]}, "cannot be searched: it is the same for all trials"),
        ({"group": ["person", "camera"]}, "cannot be searched: it is the same for all trials"),
        ({"backbone": ["mobilenetv2-05"]}, "did you mean 'mobilenetv2-050'"),
        ({"input_size": [100]}, "expected a multiple of 32"),
        ({"input_size": {"low": 64, "high": 128}}, "expected a list of choices"),
        ({"patience": {"low": 4, "high": 1}}, "expected less than high"),
        ({"learning_rate": {"low": 0.0, "high": 1.0, "log": True}}, "more than 0"),
        ({"learning_rate": {"low": 1e-3, "high": 100.0}}, "learning_rate is 100.0, expected"),
        ({"epochs": ["many"]}, "epochs is 'many', expected int"),
        ({"epochs": []}, "expected a list of choices or { low"),
        ({"patience": {"low": 1, "hihg": 4}}, "did you mean 'high'"),
    ],
)
def test_what_is_wrong_with_a_space_is_said_with_its_place(table: dict[str, Any], words: str) -> None:
    with pytest.raises(SettingsError) as caught:
        read_space(table, PLAIN, "mine.toml")
    assert words in str(caught.value)
    assert caught.value.message.startswith("mine.toml: space.")


def test_what_is_drawn_is_what_finetune_takes() -> None:
    space = read_space({**TABLE, "strategy": ["linear-probe", "finetune"]}, PLAIN, "x")
    drawn = draw(Drawn(), space, "finetune")  # type: ignore[arg-type]
    assert drawn == {
        "strategy": "finetune",
        "backbone": "mobilenetv2-050",
        "input_size": 96,
        "learning_rate": 1.23e-5,
        "patience": 1,
    }
    assert FinetuneSettings(**drawn).patience == 1  # type: ignore[arg-type]


def test_where_only_the_head_is_fitted_no_rate_is_drawn() -> None:
    drawn = draw(Drawn(), read_space(TABLE, PLAIN, "x"), "finetune")  # type: ignore[arg-type]
    assert sorted(drawn) == ["backbone", "input_size", "strategy"]
    without = {name: value for name, value in TABLE.items() if name != "strategy"}
    assert "patience" not in draw(Drawn(), read_space(without, PLAIN, "x"), "prototype")  # type: ignore[arg-type]


def test_the_first_trial_is_what_finetune_would_take() -> None:
    first = first_of(read_space(TABLE, PLAIN, "x"), 96, "mobilenetv2-050")
    assert first["backbone"] == "mobilenetv2-050"
    assert (first["input_size"], first["strategy"]) == (96, "finetune")
    assert first["learning_rate"] == pytest.approx(1e-4)
    assert isinstance(first["patience"], int)
    assert first_of(read_space(TABLE, PLAIN, "x"), 160, "resnet18")["input_size"] == 64
