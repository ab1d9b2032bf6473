"""What a test writes: a bundle, one of its figures, and the limit that the figure must hold.

    gated = edgexfer_gate("signs.edgx")
    gated.latency_p95_ms.at_most(12.0)                  # absolute, in the metric's unit
    gated.latency_p95_ms.regressed_at_most("5%")        # against the baseline
    gated.top1.dropped_at_most("1%")                    # against the float network
    gated.recall["stop"].at_least(0.9)                  # of one class; `recall` alone is of each
    gated.holds()                                       # what `edgexfer gate` judges by

Every limit that does not hold fails the test; each call returns its GateResult, for tests that want the numbers.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from edgexfer.core.bundle import Bundle
from edgexfer.core.errors import SettingsError, did_you_mean
from edgexfer.gate.judge.limits import Kind, Limit, parse_limit
from edgexfer.gate.metrics import METRICS
from edgexfer.pytest_plugin.mistakes import told_in_one_line

if TYPE_CHECKING:
    from collections.abc import Callable

    from edgexfer.gate.judge.verdict import GateResult

    Judge = Callable[[tuple[Limit, ...] | None], GateResult]


class Gated:
    """A bundle under test: its metrics are its attributes."""

    def __init__(self, bundle: Bundle, judge: Judge, source: str) -> None:
        self.bundle = bundle
        self._judge = judge
        self._source = source

    def __getattr__(self, name: str) -> Figure:
        """Returns the metric `name`, as edgexfer/gate/metrics.py has it.

        Raises:
            AttributeError: there is none ("did you mean").
        """
        __tracebackhide__ = True
        if name not in METRICS:
            raise AttributeError(f"no metric is called '{name}'; {did_you_mean(name, METRICS)}")
        return Figure(self.bundle, name, None, self._judge, self._source)

    def __dir__(self) -> list[str]:
        return ["bundle", "holds", *METRICS]

    def holds(self) -> GateResult:
        """Judges what `edgexfer gate` does: the standard limits and those of the target's `[gates]`."""
        __tracebackhide__ = True
        return self._judge(None)


class Figure:
    """One metric of a bundle, of all classes or of one."""

    def __init__(self, bundle: Bundle, metric: str, label: str | None, judge: Judge, source: str) -> None:
        self._bundle = bundle
        self._metric = metric
        self._label = label
        self._judge = judge
        self._source = source

    def __getitem__(self, label: str) -> Figure:
        """Returns the same metric of one class; fails the test where there is no such."""
        __tracebackhide__ = True
        with told_in_one_line():
            if METRICS[self._metric].of != "classes":
                raise SettingsError(f"{self._metric} is no figure of single classes", f"leave [{label!r}] out")
            if label not in self._bundle.labels:
                known = did_you_mean(str(label), self._bundle.labels)
                raise SettingsError(f"{self._bundle.folder} has no class '{label}'", known)
        return Figure(self._bundle, self._metric, label, self._judge, self._source)

    def at_most(self, limit: float | str) -> GateResult:
        """Holds the figure to at most `limit`, in the metric's unit; a fraction also as "5%"."""
        __tracebackhide__ = True
        return self._hold("max", limit)

    def at_least(self, limit: float | str) -> GateResult:
        """Holds the figure to at least `limit`, in the metric's unit; a fraction also as "95%"."""
        __tracebackhide__ = True
        return self._hold("min", limit)

    def dropped_at_most(self, limit: float | str) -> GateResult:
        """Holds the figure to at most `limit` worse than the float network's: 0.01 and "1%" are both one point."""
        __tracebackhide__ = True
        return self._hold("max_drop", limit)

    def regressed_at_most(self, limit: float | str) -> GateResult:
        """Holds the figure to at most `limit` worse than the baseline's.

        "5%" is a part of the baseline's figure, or points where the metric is a fraction; a number is in its unit.
        """
        __tracebackhide__ = True
        return self._hold("max_regress", limit)

    def _hold(self, kind: Kind, value: float | str) -> GateResult:
        __tracebackhide__ = True
        subject = self._metric if self._label is None else f"{self._metric}:{self._label}"
        with told_in_one_line():
            limit = parse_limit(f"{subject}.{kind}", value, self._source)
            if limit is None:
                raise SettingsError(f"{self._source}: {subject}.{kind} is 'off', expected a number")
        return self._judge((limit,))
