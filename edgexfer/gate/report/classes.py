"""Classes: a confusion matrix as what the page shows of it: one row per class, the heat map, the worst pairs.

A heat map of many classes is read by nobody. From MOST_CELLS classes on it holds those that are confused the most,
with all the others in one column, and a drawing shows where in the whole matrix the mistakes lie.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from edgexfer.gate import accuracy
from edgexfer.gate.report.drawing import COLOURS, Drawing, draw

if TYPE_CHECKING:
    from matplotlib.figure import Figure

MOST_CELLS = 14
CONFUSED = 10  # classes of the heat map where there are more than that
MOST_PAIRS = 12
OTHERS = "all others"


@dataclass(frozen=True)
class ClassRow:
    """One class.

    Attributes:
        number: its place in the network's output, from 0.
        label: its name.
        images: how many of it were judged.
        recall: fraction of them that was found; nan where there are none.
        precision: fraction of what was called so that is; nan where nothing was.
        f1: harmonic mean of the two; nan where the class never occurs.
    """

    number: int
    label: str
    images: int
    recall: float
    precision: float
    f1: float


@dataclass(frozen=True)
class HeatMap:
    """A part of the confusion matrix.

    Attributes:
        heads: names of the columns.
        rows: (class, [(images, fraction of the row, whether the answer is right), ...]).
        whole: whether it holds every class.
    """

    heads: tuple[str, ...]
    rows: tuple[tuple[str, tuple[tuple[int, float, bool], ...]], ...]
    whole: bool


def class_rows(labels: Sequence[str], matrix: NDArray[np.int64]) -> list[ClassRow]:
    """Returns the classes by recall, the weakest first; those without an image last.

    Args:
        labels: in the order of the network's output.
        matrix: int [classes, classes]; row = the true class, column = the predicted one.
    """
    columns = (matrix.sum(axis=1), accuracy.recall(matrix), accuracy.precision(matrix), accuracy.f1(matrix))
    figures = zip(*(column.tolist() for column in columns), strict=True)
    rows = [ClassRow(i, label, *row) for i, (label, row) in enumerate(zip(labels, figures, strict=True))]
    return sorted(rows, key=lambda row: (np.isnan(row.recall), row.recall, np.nan_to_num(row.f1)))


def heat_map(labels: Sequence[str], matrix: NDArray[np.int64]) -> HeatMap:
    """Returns the whole matrix, or of many classes those that are confused the most."""
    count = len(labels)
    if count <= MOST_CELLS:
        shown, whole = list(range(count)), True
    else:
        wrong = matrix.copy()
        np.fill_diagonal(wrong, 0)
        involved = wrong.sum(axis=0) + wrong.sum(axis=1)
        shown, whole = sorted(np.argsort(-involved, kind="stable")[:CONFUSED].tolist()), False
    rows = []
    for i in shown:
        counts = [int(matrix[i, j]) for j in shown]
        counts += [] if whole else [int(matrix[i].sum()) - sum(counts)]
        total = max(sum(counts), 1)
        right = [i == j for j in shown] + ([] if whole else [False])
        rows.append((labels[i], tuple((n, n / total, hit) for n, hit in zip(counts, right, strict=True))))
    return HeatMap((*(labels[j] for j in shown), *(() if whole else (OTHERS,))), tuple(rows), whole)


def worst_pairs(labels: Sequence[str], matrix: NDArray[np.int64]) -> list[tuple[str, str, int, float]]:
    """Returns (true class, predicted class, images, fraction of the true class) of the most frequent mistakes."""
    wrong = matrix.copy()
    np.fill_diagonal(wrong, 0)
    order = np.argsort(-wrong, axis=None, kind="stable")[:MOST_PAIRS]
    places = [divmod(int(place), len(labels)) for place in order]
    totals = matrix.sum(axis=1)
    return [(labels[i], labels[j], int(wrong[i, j]), float(wrong[i, j] / totals[i])) for i, j in places if wrong[i, j]]


def overview(matrix: NDArray[np.int64]) -> Drawing:
    """Draws where in the matrix the images lie, whatever the number of classes: mistakes stand off the diagonal."""
    rows, columns = np.nonzero(matrix)
    shares = matrix[rows, columns] / matrix.sum(axis=1)[rows]
    hit = rows == columns
    side = max(1.5, min(8.0, 220 / len(matrix)))

    def paint(figure: Figure) -> None:
        axes = figure.add_subplot()
        for picked, colour, mark in ((hit, "series-1", "s"), (~hit, "series-2", "D")):
            axes.scatter(
                columns[picked], rows[picked], s=(side * np.sqrt(0.25 + 0.75 * shares[picked])) ** 2, marker=mark,
                color=COLOURS[colour], linewidths=0,
            )  # fmt: skip
        axes.set_xlim(-0.7, len(matrix) - 0.3)
        axes.set_ylim(len(matrix) - 0.3, -0.7)
        axes.set_aspect("equal")
        axes.locator_params(nbins=8, integer=True)
        axes.set_xlabel("number of the answer")
        axes.set_ylabel("number of the class")

    mistakes = int(matrix.sum() - np.trace(matrix))
    return draw(
        "confusion-overview", f"All {len(matrix)} classes",
        f"The confusion matrix from afar: {int(np.trace(matrix))} right answers on the diagonal, {mistakes} mistakes "
        f"in {int((~hit).sum())} places off it. The table of classes has the numbers.",
        paint, height_inches=4.2,
        caption="Squares: right. Diamonds: wrong; larger for a larger part of the class. The table has the numbers.",
    )  # fmt: skip
