"""Expected: what a network answered to the held-out images at export, against which a device compares what it sees.

`export` counts it and the bundle's manifest keeps it, for each precision that was judged:

    "expected": {"precisions": {"int8": {"images": 310, "split": "test", "classes": {"stop": 31, ...},
                                         "score_edges": [0.1, ...], "scores": [0, 2, ...]}}}

classes are the images by predicted class, 0 left out. scores are the images by their best score: first those below the
first edge, then from there up to below the next one, last those from the last edge on. The key is absent in older
bundles: there a device has nothing to compare with.
"""

from __future__ import annotations

from bisect import bisect_right
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from edgexfer.core.errors import ArtifactError

SCORE_EDGES = (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 0.98, 0.99, 0.999)


@dataclass(frozen=True)
class Expected:
    """Answers that were counted, at export or in a period that somebody has looked at.

    Attributes:
        images: how many there were.
        classes: images by predicted class.
        score_edges: probabilities, ascending.
        scores: images by score, one more than there are edges; see the module's docstring.
        split: which images they were, such as "test" or "val".
    """

    images: int
    classes: dict[str, int]
    score_edges: tuple[float, ...]
    scores: tuple[int, ...]
    split: str = ""

    def to_json(self) -> dict[str, Any]:
        """Returns the record for the manifest."""
        return {
            "images": self.images,
            "split": self.split,
            "classes": dict(self.classes),
            "score_edges": list(self.score_edges),
            "scores": list(self.scores),
        }


def count_answers(answers: Iterable[tuple[str, float]], split: str = "") -> Expected:
    """Counts answers, each the predicted class and its score."""
    classes: Counter[str] = Counter()
    scores = [0] * (len(SCORE_EDGES) + 1)
    for label, score in answers:
        classes[label] += 1
        scores[bisect_right(SCORE_EDGES, score)] += 1
    return Expected(classes.total(), dict(classes), SCORE_EDGES, tuple(scores), split)


def expected_of(record: Any, precision: str, where: str) -> Expected | None:
    """Reads the counts of one precision.

    Args:
        record: the value of the manifest's key `expected`; None where there is no such key.
        precision: of the network that runs.
        where: what is named in errors.

    Returns:
        None where nothing was counted.

    Raises:
        ArtifactError: the record is not as the module's docstring says.
    """
    if record is None:
        return None
    try:
        entry = record["precisions"].get(precision)
        if entry is None:
            return None
        classes = {str(label): _count(number) for label, number in entry["classes"].items()}
        edges = tuple(float(edge) for edge in entry["score_edges"])
        scores = tuple(_count(number) for number in entry["scores"])
        found = Expected(_count(entry["images"]), classes, edges, scores, str(entry.get("split", "")))
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise _damaged(where, repr(error)) from error
    whole = sum(classes.values()) == sum(scores) == found.images and len(scores) == len(edges) + 1
    if not whole or list(edges) != sorted(set(edges)) or found.images == 0:
        raise _damaged(where, "its numbers do not add up")
    return found


def _count(value: Any) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or value < 0:
        raise ValueError(f"{value!r} is no number of images")
    return value


def _damaged(where: str, reason: str) -> ArtifactError:
    return ArtifactError(
        f"{where}: 'expected' in its manifest is not a record of answers: {reason}",
        "export the bundle again with `edgexfer export RUN --target NAME`",
    )
