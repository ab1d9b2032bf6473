"""What `--prune` asks for: a share of the unpruned network's latency, parameters or multiply-accumulates.

Imports nothing heavy: a typo answers at once.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, cast, get_args

from edgexfer.core.errors import SettingsError, did_you_mean
from edgexfer.core.target import Target

Measure = Literal["latency", "params", "macs"]
MEASURES: tuple[str, ...] = get_args(Measure)
_LEAST, _MOST = 0.05, 0.99
_STEP = 0.82  # of the measure that is left from one point to the next: what fine-tuning mends well
_EXAMPLE = "such as --prune latency=0.6"


@dataclass(frozen=True)
class Goal:
    """What a network shall shrink to.

    Attributes:
        measure: "latency" (one inference on the target's engine, one thread), "params" or "macs".
        ratio: what is left of it, 0.05 to 0.99 of the unpruned network's.
        keep_input_size: whether channels alone may go, and no pixels of the input.
    """

    measure: Measure
    ratio: float
    keep_input_size: bool = False

    def __post_init__(self) -> None:
        if self.measure not in MEASURES:
            raise SettingsError(
                f"--prune cannot go by '{self.measure}': it goes by {', '.join(MEASURES)}",
                f"{did_you_mean(self.measure, MEASURES)}, {_EXAMPLE}",
            )
        if not _LEAST <= self.ratio <= _MOST:  # nan too
            raise SettingsError(
                f"--prune {self} asks for {self.ratio:g} of the unpruned {self.measure}, "
                f"expected {_LEAST:g} to {_MOST:g}",
                f"say what shall be left, {_EXAMPLE} for six tenths",
            )

    def __str__(self) -> str:
        kept = ", its input size kept" if self.keep_input_size else ""
        return f"{self.measure}={self.ratio:g}{kept}"

    def points_from(self, start: float) -> tuple[float, ...]:
        """Returns ratios on the way, the asked one last; each is the same share of the one before it.

        Args:
            start: what is left of the measure where the way begins, 1 of the whole network.
        """
        steps = max(1, math.ceil(round(math.log(self.ratio / start) / math.log(_STEP), 6)))
        between = (start * (self.ratio / start) ** (step / steps) for step in range(1, steps))
        return (*(round(ratio, 4) for ratio in between), self.ratio)


def parse_goal(text: str) -> Goal:
    """Reads MEASURE=RATIO, such as "latency=0.6".

    Raises:
        SettingsError: another form, an unknown measure ("did you mean"), or a ratio out of range.
    """
    measure, sign, value = (part.strip() for part in text.partition("="))
    if not sign or not measure or not value:
        raise SettingsError(f"--prune is '{text}', expected MEASURE=RATIO", f"{_EXAMPLE}, params=0.5 or macs=0.5")
    try:
        ratio = float(value)
    except ValueError:
        raise SettingsError(f"--prune {text}: '{value}' is no number", _EXAMPLE) from None
    return Goal(cast("Measure", measure), ratio)


def pruned_place(run: Path, goal: Goal, target: Target) -> Path:
    """Returns where the pruned sibling of `run` lies: RUN.pruned-MEASURE-RATIO, for latency with the target's name."""
    name = f"{run.name}.pruned-{goal.measure}-{goal.ratio:g}{'-input-kept' if goal.keep_input_size else ''}"
    return run.with_name(f"{name}-{target.name}" if goal.measure == "latency" else name)
