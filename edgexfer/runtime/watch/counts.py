"""Counters of a classifier: they grow as long as it runs, and take the same memory all the while."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field

from edgexfer.core.expected import SCORE_EDGES
from edgexfer.core.prediction import Prediction

SECONDS_EDGES = (0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0)


@dataclass(frozen=True)
class Histogram:
    """Values by size.

    Attributes:
        edges: ascending.
        counts: values by the edge they stay under, one more than there are edges.
        total: sum of all values.
    """

    edges: tuple[float, ...]
    counts: tuple[int, ...]
    total: float

    @property
    def count(self) -> int:
        """How many values there are."""
        return sum(self.counts)


@dataclass(frozen=True)
class Counted:
    """The counters at one moment.

    Attributes:
        classes: predictions by predicted class, those called unknown included.
        unknown: predictions that were called unknown.
        errors: failures by the name of their exception.
        seconds: of the engine's calls; one call may be a batch.
        scores: of the predictions; a value on an edge counts to the upper side.
    """

    classes: dict[str, int]
    unknown: int
    errors: dict[str, int]
    seconds: Histogram
    scores: Histogram

    @property
    def predictions(self) -> int:
        """How many there were."""
        return sum(self.classes.values())

    @property
    def unknown_share(self) -> float:
        """Share of the predictions that were called unknown, 0 to 1; 0 where there were none."""
        return self.unknown / self.predictions if self.predictions else 0.0


@dataclass
class Counters:
    """The counters themselves. Not safe for threads: `Watch` locks them."""

    classes: Counter[str] = field(default_factory=Counter)
    unknown: int = 0
    errors: Counter[str] = field(default_factory=Counter)
    seconds: list[int] = field(default_factory=lambda: [0] * (len(SECONDS_EDGES) + 1))
    seconds_total: float = 0.0
    scores: list[int] = field(default_factory=lambda: [0] * (len(SCORE_EDGES) + 1))
    scores_total: float = 0.0

    def call(self, seconds: float) -> None:
        """Counts one call of the engine."""
        self.seconds[bisect_left(SECONDS_EDGES, seconds)] += 1  # Prometheus: at most the edge
        self.seconds_total += seconds

    def predictions(self, seen: Sequence[tuple[str, float]], predictions: Sequence[Prediction]) -> None:
        """Counts predictions; `seen` are their classes and scores."""
        for (label, score), prediction in zip(seen, predictions, strict=True):
            self.classes[label] += 1
            self.scores[bisect_right(SCORE_EDGES, score)] += 1
            self.scores_total += score
            known_from = prediction.known_from
            self.unknown += known_from is not None and not score >= known_from

    def now(self) -> Counted:
        """Returns what has been counted."""
        return Counted(
            dict(self.classes),
            self.unknown,
            dict(self.errors),
            Histogram(SECONDS_EDGES, tuple(self.seconds), self.seconds_total),
            Histogram(SCORE_EDGES, tuple(self.scores), self.scores_total),
        )
