"""Reliability: whether scores can be taken at their word. Of the images with a score near 0.9, are 90 % right?"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from edgexfer.gate import accuracy
from edgexfer.gate.measure.measured import Measured
from edgexfer.gate.report.drawing import COLOURS, Drawing, Table, draw

if TYPE_CHECKING:
    from matplotlib.figure import Figure

FEW = 10  # images of a bin, below which its fraction says little


def reliability(record: Measured) -> Drawing | None:
    """Draws accuracy against score in the bins of the calibration error, and how many images each bin has.

    Guo et al., "On Calibration of Modern Neural Networks", ICML 2017. None where no image was judged.
    """
    images = record.evaluation.images
    if not images:
        return None
    scores = np.array([image.score for image in images], np.float64)
    right = np.array([image.label == image.predicted for image in images], np.bool_)
    counts, hits, promised = accuracy.calibration_bins(scores, right)
    edges = np.linspace(0, 1, accuracy.ECE_BINS + 1)
    filled = np.flatnonzero(counts)
    found, said = hits[filled] / counts[filled], promised[filled] / counts[filled]
    width = 1 / accuracy.ECE_BINS

    def paint(figure: Figure) -> None:
        above, below = figure.subplots(2, 1, sharex=True, height_ratios=(3, 1))
        middles = edges[filled] + width / 2
        for few, alpha in ((False, 1.0), (True, 0.4)):
            picked = (counts[filled] < FEW) == few
            above.bar(middles[picked], found[picked], width * 0.86, color=COLOURS["series-1"], alpha=alpha)
        low, gaps = np.minimum(found, said), np.abs(found - said)
        above.bar(middles, gaps, width * 0.86, bottom=low, color=COLOURS["series-2"], alpha=0.3, linewidth=0)
        above.bar(middles, gaps, width * 0.86, bottom=low, fill=False, edgecolor=COLOURS["series-2"], linewidth=1.2)
        above.plot((0, 1), (0, 1), color=COLOURS["muted"], linestyle=(0, (4, 3)), linewidth=1.2)
        above.set_ylim(0, 1.02)
        above.set_ylabel("fraction right")
        below.bar(middles, counts[filled], width * 0.86, color=COLOURS["muted"])
        below.set_ylabel("images")
        below.set_xlim(0, 1)
        below.set_xlabel("score of the answer")
        below.locator_params(axis="y", nbins=3, integer=True)

    error = record.evaluation.ece
    rows = tuple(
        (f"{edges[i]:.2f} to {edges[i + 1]:.2f}", str(counts[i]), f"{100 * score:.1f} %", f"{100 * share:.1f} %")
        for i, score, share in zip(filled, said, found, strict=True)
    )
    gap = float(np.average(said - found, weights=counts[filled]))
    tendency = "promise more than they keep" if gap > 0 else "are more modest than they need to be"
    return draw(
        f"reliability-{record.precision}", f"Scores of {record.precision}",
        f"Bars of the fraction that is right by score, against a diagonal where both are equal. The expected "
        f"calibration error is {100 * error:.1f} %; on the whole the scores {tendency}.",
        paint, height_inches=3.5,
        caption=f"Expected calibration error {100 * error:.1f} %. Outlined: the gap between the mean score and the "
        f"fraction that is right; on the dashed line there is none. Pale: fewer than {FEW} images.",
        table=Table(f"Scores of {record.precision} by bin", ("score", "images", "mean score", "right"), rows),
    )  # fmt: skip
