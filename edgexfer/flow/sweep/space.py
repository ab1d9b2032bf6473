"""The space that a sweep searches: settings of fine-tuning by name, each with its choices or its range.

    [space]                                             # in the file of --config, beside settings that are fixed
    backbone = ["efficientnet-lite0", "mobilenetv2-100"]
    learning_rate = { low = 1e-5, high = 1e-3, log = true }
    patience = { low = 1, high = 4 }

A number may have a range; whole bounds mean whole numbers. What is not named there and not fixed has the default
space's values, or finetune's own default.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeAlias

from edgexfer.core.errors import EdgexferError, SettingsError, did_you_mean
from edgexfer.core.toml import from_table
from edgexfer.train.settings import FinetuneSettings

if TYPE_CHECKING:
    from optuna.trial import Trial

Value: TypeAlias = "str | bool | int | float"

# The same for all trials: the first four decide how the images are divided, and on other images accuracies could not
# be compared; the others belong to the machine or to the backbone.
_FIXED = ("seed", "group", "near_duplicates", "strict", "device", "weights")
_HEAD_ALONE = ("linear-probe", "prototype")
_OF_THE_HEAD = ("strategy", "backbone", "input_size", "resize")
_RATES = (3e-5, 2e-3)
_STRATEGIES = ("finetune", "gradual", "last-n")
_AUGMENTATIONS = ("auto", "light", "trivial")
_SIZES = (0.5, 0.75, 1.0, 1.25)
_SIZE_STEP, _SMALLEST = 32, 64
_DIGITS = 3  # of a number that was drawn: a rate is known no better


@dataclass(frozen=True)
class Choices:
    """One of these."""

    values: tuple[Value, ...]


@dataclass(frozen=True)
class Range:
    """A number between two bounds, both included.

    Attributes:
        low: the lower bound.
        high: the upper bound; where both are whole numbers the drawn one is too.
        log: whether it is drawn on a logarithmic scale.
    """

    low: float
    high: float
    log: bool = False


Space: TypeAlias = "dict[str, Choices | Range]"


def read_space(table: Mapping[str, Any], settings: FinetuneSettings, where: str) -> Space:
    """Reads a table `[space]` and tries every value that it names.

    Args:
        table: by the names of settings.
        settings: what is fixed; a value is tried among them.
        where: what is named in errors, such as the file.

    Raises:
        SettingsError: an unknown setting ("did you mean"), one that cannot be searched, or a value out of range.
    """
    return {name: _dimension(name, value, settings, f"{where}: space.{name}") for name, value in table.items()}


def default_space(
    settings: FinetuneSettings, fixed: Sequence[str], *, backbones: Sequence[str], fitting: int, largest: int
) -> Space:
    """Returns what is searched unless the user says otherwise.

    Args:
        settings: what is fixed.
        fixed: names that the user has set, which are not searched.
        backbones: those whose weights are at hand.
        fitting: the input side that suits the photographs (train.prepared.fitting_input_size), in pixels.
        largest: the largest input side that a backbone was pretrained at, in pixels.
    """
    from edgexfer.train.strategies import STRATEGIES  # noqa: PLC0415 - PyTorch

    sides = sorted({_nearby(fitting * share, largest) for share in _SIZES})
    whole: Space = {
        "backbone": Choices(tuple(backbones)),
        "input_size": Choices(tuple(sides)),
        "strategy": Choices(tuple(name for name in _STRATEGIES if name in STRATEGIES)),
        "learning_rate": Range(*_RATES, log=True),
        "layer_decay": Range(0.6, 1.0),
        "augmentation": Choices(_AUGMENTATIONS),
    }
    if settings.find_learning_rate:
        del whole["learning_rate"]
    return {name: dimension for name, dimension in whole.items() if name not in fixed}


def first_of(space: Space, fitting: int, backbone: str) -> dict[str, Value]:
    """Returns the trial that a sweep begins with: what `finetune` would take, as far as the space has it.

    Args:
        space: what is searched.
        fitting: the input side that suits the photographs.
        backbone: the default one.
    """
    wanted: dict[str, Value] = {"backbone": backbone, "input_size": fitting}
    first: dict[str, Value] = {}
    for name, dimension in space.items():
        if isinstance(dimension, Choices):
            first[name] = wanted[name] if wanted.get(name) in dimension.values else dimension.values[0]
        elif dimension.log:
            first[name] = (dimension.low * dimension.high) ** 0.5
        else:
            first[name] = (dimension.low + dimension.high) / 2
        if _is_whole(dimension):
            first[name] = round(float(first[name]))
    return first


def draw(trial: Trial, space: Space, strategy: str) -> dict[str, Value]:
    """Asks Optuna for a value of every setting that matters with the drawn strategy.

    Where only the head is fitted, rates and schedules mean nothing, and Optuna shall not learn from them.

    Args:
        trial: Optuna's.
        space: what is searched.
        strategy: the one that is fixed, where the space has none.
    """
    drawn: dict[str, Any] = {}
    order = sorted(space, key=lambda name: name != "strategy")
    for name in order:
        if drawn.get("strategy", strategy) in _HEAD_ALONE and name not in _OF_THE_HEAD:
            continue
        dimension = space[name]
        if isinstance(dimension, Choices):
            drawn[name] = trial.suggest_categorical(name, dimension.values)
        elif _is_whole(dimension):
            drawn[name] = trial.suggest_int(name, int(dimension.low), int(dimension.high), log=dimension.log)
        else:
            value = trial.suggest_float(name, dimension.low, dimension.high, log=dimension.log)
            drawn[name] = min(max(float(f"{value:.{_DIGITS}g}"), dimension.low), dimension.high)
    return drawn


def space_json(space: Space) -> dict[str, Any]:
    """Returns the space as a study records it: JSON that `read_space` reads again."""
    return {
        name: list(part.values) if isinstance(part, Choices) else dataclasses.asdict(part)
        for name, part in sorted(space.items())
    }


def _dimension(name: str, value: Any, settings: FinetuneSettings, where: str) -> Choices | Range:
    known = [field.name for field in dataclasses.fields(settings) if field.name not in _FIXED]
    if name in _FIXED:
        raise SettingsError(f"{where} cannot be searched: it is the same for all trials", "set it outside of [space]")
    if name not in known:
        raise SettingsError(f"{where} is no setting of finetune", did_you_mean(name, known))
    if isinstance(value, dict) and name != "input_size":  # between two sides there are some that no network takes
        made = _range(value, where)
        tried: tuple[Any, ...] = (made.low, made.high) if not _is_whole(made) else (int(made.low), int(made.high))
    elif isinstance(value, list) and value:
        tried = tuple(value)
    else:
        ranged = "" if name == "input_size" else " or { low = ..., high = ... }"
        raise SettingsError(f"{where} is {value!r}, expected a list of choices{ranged}")
    for one in tried:
        _check(name, one, settings, where)
    return made if isinstance(value, dict) else Choices(tuple(dict.fromkeys(tried)))


def _range(table: dict[str, Any], where: str) -> Range:
    made = from_table(Range, table, where)
    if not made.low < made.high:
        raise SettingsError(f"{where}: low is {made.low:g}, expected less than high, which is {made.high:g}")
    if made.log and made.low <= 0:
        raise SettingsError(f"{where}: low is {made.low:g}, expected more than 0 on a logarithmic scale")
    whole = all(isinstance(table[bound], int) for bound in ("low", "high"))
    return Range(int(made.low), int(made.high), made.log) if whole else made


def _check(name: str, value: Any, settings: FinetuneSettings, where: str) -> None:
    from edgexfer.train.backbones import find_backbone  # noqa: PLC0415 - of one setting

    if not isinstance(value, (str, bool, int, float)):
        raise SettingsError(f"{where} has {value!r}, expected text, a number, true or false")
    try:
        typed = from_table(FinetuneSettings, {name: value}, where)
        dataclasses.replace(settings, **{name: getattr(typed, name)})
        if name == "backbone":
            find_backbone(str(value))
    except EdgexferError as error:
        raise SettingsError(error.message if where in error.message else f"{where}: {error.message}", error.hint)  # noqa: B904 - the same mistake, and where it stands


def _is_whole(dimension: Choices | Range) -> bool:
    return isinstance(dimension, Range) and isinstance(dimension.low, int) and isinstance(dimension.high, int)


def _nearby(side: float, largest: int) -> int:
    top = max(_SMALLEST, largest // _SIZE_STEP * _SIZE_STEP)
    return int(min(top, max(_SMALLEST, round(side / _SIZE_STEP) * _SIZE_STEP)))
