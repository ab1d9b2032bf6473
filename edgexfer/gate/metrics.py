"""Metrics: what a gate can hold to a limit. A new one is one decorated function in this file.

What a function is given is said by `of`:

    "calls"      {step: float64 [calls] nanoseconds} of single predictions; steps as in measure/latency.py
    "answers"    Answers, what the network said about images of known class
    "classes"    the same, for a figure of each class: float64 [classes], nan where a class has no image
    "process"    Started, one fresh process that opened the bundle and predicted
    "power"      float64 [readings] watts while predicting
    "bundle"     the Bundle itself

A limit on a metric of "classes" holds for every class; `recall:stop` is that of the class "stop" alone.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias, TypeVar

import numpy as np
from numpy.typing import NDArray

from edgexfer.core.bundle import Bundle
from edgexfer.gate import accuracy

Of: TypeAlias = Literal["calls", "answers", "classes", "process", "power", "bundle"]
Better: TypeAlias = Literal["lower", "higher"]
Calls: TypeAlias = Mapping[str, NDArray[np.float64]]

F = TypeVar("F", bound=Callable[..., Any])


@dataclass(frozen=True)
class Answers:
    """What a network said about N images, as arrays.

    Attributes:
        truth: int [N], ids of the true classes.
        predicted: int [N], ids of the most probable classes.
        scores: float [N], probability of the predicted class, 0 to 1.
        classes: how many there are.
    """

    truth: NDArray[np.int64]
    predicted: NDArray[np.int64]
    scores: NDArray[np.float64]
    classes: int


@dataclass(frozen=True)
class Started:
    """One fresh process that opened a bundle.

    Attributes:
        load_ms: from before `open_bundle`, whose hashing of every file counts, to the end of the first prediction;
            without starting Python, importing edgexfer and reading the reference images.
        peak_memory_mib: the most memory that the process held in RAM, after some predictions.
    """

    load_ms: float
    peak_memory_mib: float


@dataclass(frozen=True)
class Metric:
    """One figure that can have a limit.

    Attributes:
        name: as it stands in a target's `[gates]`, unit included.
        unit: "ms", "MiB", ...; "" for a fraction, which is shown in percent.
        better: which way is progress.
        of: what `value` is given; see the module's docstring.
        value: the function.
        meaning: one line for people.
        least_calls: fewer calls say nothing of it. A tail beyond the fraction q is missing from n calls with the
            probability q**n; these are so many that it is 0.005.
    """

    name: str
    unit: str
    better: Better
    of: Of
    value: Callable[[Any], Any]
    meaning: str
    least_calls: int = 1

    @property
    def is_fraction(self) -> bool:
        """Whether it lies between 0 and 1: its drops and regressions are then points, not ratios."""
        return self.unit == ""


METRICS: dict[str, Metric] = {}


def metric(*, unit: str, better: Better, of: Of, least_calls: int = 1) -> Callable[[F], F]:
    """Makes the decorated function a metric under its own name; its docstring's first line says what it is."""

    def register(function: F) -> F:
        name = function.__name__
        meaning = (function.__doc__ or "").partition("\n")[0]
        METRICS[name] = Metric(name, unit, better, of, function, meaning, least_calls)
        return function

    return register


@metric(unit="ms", better="lower", of="calls")
def latency_p50_ms(calls: Calls) -> float:
    """Median of one whole prediction: decode, resize, inference."""
    return float(np.percentile(calls["total"], 50)) / 1e6


@metric(unit="ms", better="lower", of="calls", least_calls=104)
def latency_p95_ms(calls: Calls) -> float:
    """95th percentile of one whole prediction: decode, resize, inference."""
    return float(np.percentile(calls["total"], 95)) / 1e6


@metric(unit="ms", better="lower", of="calls", least_calls=528)
def latency_p99_ms(calls: Calls) -> float:
    """99th percentile of one whole prediction: decode, resize, inference."""
    return float(np.percentile(calls["total"], 99)) / 1e6


@metric(unit="ms", better="lower", of="calls")
def inference_p50_ms(calls: Calls) -> float:
    """Median of the network alone: pixels to probabilities."""
    return float(np.percentile(calls["inference"], 50)) / 1e6


@metric(unit="ms", better="lower", of="calls", least_calls=104)
def inference_p95_ms(calls: Calls) -> float:
    """95th percentile of the network alone: pixels to probabilities."""
    return float(np.percentile(calls["inference"], 95)) / 1e6


@metric(unit="images/s", better="higher", of="calls")
def throughput_images_per_s(calls: Calls) -> float:
    """Whole predictions in a second, one after the other."""
    return 1e9 / float(np.mean(calls["total"]))


@metric(unit="", better="higher", of="answers")
def top1(answers: Answers) -> float:
    """Fraction of images whose most probable class is right."""
    return accuracy.top1(answers.truth, answers.predicted)


@metric(unit="", better="higher", of="answers")
def macro_f1(answers: Answers) -> float:
    """Mean F1 of the classes, each counting the same."""
    return accuracy.macro_f1(accuracy.confusion(answers.truth, answers.predicted, answers.classes))


@metric(unit="", better="lower", of="answers")
def calibration_error(answers: Answers) -> float:
    """Expected calibration error: how far the scores lie from the accuracy that they promise."""
    return accuracy.expected_calibration_error(answers.scores, answers.truth == answers.predicted)


@metric(unit="", better="higher", of="classes")
def recall(answers: Answers) -> NDArray[np.float64]:
    """Fraction of each class's images that was found."""
    return accuracy.recall(accuracy.confusion(answers.truth, answers.predicted, answers.classes))


@metric(unit="ms", better="lower", of="process")
def load_ms(started: Started) -> float:
    """Opening the bundle and the first prediction, in a fresh process."""
    return started.load_ms


@metric(unit="MiB", better="lower", of="process")
def peak_memory_mib(started: Started) -> float:
    """The most memory that a fresh process held in RAM while it predicted."""
    return started.peak_memory_mib


@metric(unit="W", better="lower", of="power")
def power_w(watts: NDArray[np.float64]) -> float:
    """Mean power while predicting one image after the other, where the device tells."""
    return float(np.mean(watts))


@metric(unit="bytes", better="lower", of="bundle")
def size_bytes(bundle: Bundle) -> float:
    """Size of the ONNX file that ships."""
    return float(bundle.model.stat().st_size)
