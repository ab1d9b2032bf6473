"""What `--sparsity` asks for: a share of weights that are zero wherever they lie, or two of every four inputs.

Imports nothing heavy: a typo answers at once.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path

from edgexfer.core.errors import SettingsError, did_you_mean

TWO_FOUR = "2:4"
HOWS = ("magnitude", "regularisation")
_LEAST, _MOST = 0.05, 0.95
_STEP = 0.5  # of the weights that are left from one point to the next
_EXAMPLE = "such as --sparsity 0.6 for six tenths zeros, or --sparsity 2:4"


@dataclass(frozen=True)
class Sparsity:
    """How many weights shall be zero, and how they are chosen.

    Attributes:
        share: of the weights of convolutions and linear layers, 0.05 to 0.95; None for 2:4.
        how: "magnitude": the smallest beside their layer's norm; "regularisation": those that training gives up under
            a penalty. 2:4 goes by magnitude alone.
    """

    share: float | None
    how: str = "magnitude"

    def __post_init__(self) -> None:
        if self.how not in HOWS:
            raise SettingsError(f"--sparsity-how is '{self.how}'", did_you_mean(self.how, HOWS))
        if self.share is None and self.how != "magnitude":
            raise SettingsError(
                f"--sparsity 2:4 cannot go by {self.how}: the pattern is chosen by magnitude",
                "leave --sparsity-how away",
            )
        if self.share is not None and not _LEAST <= self.share <= _MOST:  # nan too
            raise SettingsError(
                f"--sparsity is {self.share:g}, expected a share of zeros from {_LEAST:g} to {_MOST:g}, or 2:4",
                _EXAMPLE,
            )

    def __str__(self) -> str:
        return TWO_FOUR if self.share is None else f"{self.share:g}"

    @property
    def points(self) -> tuple[float, ...]:
        """Shares on the way, the asked one last; at each the same part of what was left stays, half of it or more.

        One for 2:4, and where training closes gates: it does so step by step.
        """
        if self.share is None or self.how == "regularisation":
            return (0.5 if self.share is None else self.share,)
        left = 1 - self.share
        steps = max(1, math.ceil(round(math.log(left) / math.log(_STEP), 6)))
        return (*(round(1 - left ** (step / steps), 4) for step in range(1, steps)), self.share)


def parse_sparsity(text: str, how: str | None = None) -> Sparsity:
    """Reads "0.6" or "2:4".

    Raises:
        SettingsError: another form, a share out of range, or a `how` that is unknown or does not fit.
    """
    given = text.strip()
    if given == TWO_FOUR:
        return Sparsity(None, how or "magnitude")
    try:
        share = float(given)
    except ValueError:
        other = " (of patterns engines know 2:4 alone)" if ":" in given else ""
        raise SettingsError(
            f"--sparsity is '{text}', expected a share of zeros from {_LEAST:g} to {_MOST:g}, or 2:4{other}", _EXAMPLE
        ) from None
    return Sparsity(share, how or "magnitude")


def sparse_place(run: Path, sparsity: Sparsity) -> Path:
    """Returns where the sparse sibling of `run` lies: RUN.sparse-SHARE or RUN.sparse-2-4; how, unless by magnitude."""
    name = f"{run.name}.sparse-{str(sparsity).replace(':', '-')}"
    return run.with_name(name if sparsity.how == "magnitude" else f"{name}-{sparsity.how}")


def dense_place(sparse: Path) -> Path:
    """Returns where the dense checkpoint lies that `sparse`, or what it was quantized from, was made from."""
    return sparse.with_name(sparse.name.rpartition(".sparse-")[0] or sparse.name)
