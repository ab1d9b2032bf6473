"""What `edgexfer data check` prints of what is doubtful: warnings first, then what is only worth knowing."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

from edgexfer.cli import show

if TYPE_CHECKING:
    from edgexfer.core.findings import Findings, NearDuplicate

_FEW_CLASSES = 3


def print_findings(found: Findings, *, divided: bool) -> None:
    """Prints what is doubtful about usable images.

    Args:
        found: the findings.
        divided: whether the user has made splits.
    """
    show.listed("suspected wrong labels (nearly the same picture, different classes)", _pairs(found, "other-class"))
    show.listed("nearly the same in several splits (scores will flatter)", _pairs(found, "across-splits"))
    stay = "both are used" if divided else "they stay in one split"
    show.listed(f"nearly the same ({stay})", _pairs(found, "same-class"))
    show.listed(
        "groups in several splits (scores will flatter)",
        [f"{group}: {', '.join(splits)}" for group, splits in found.straddling.items()],
    )
    show.listed(
        f"tiny (training wants {found.wanted_px} pixels, and would enlarge them more than twice)",
        [f"{item.name}: {item.width} x {item.height}" for item in found.tiny],
    )
    show.listed(
        "blurred (by far less sharp than the median image)",
        [f"{item.name}: {times:.0f} times less sharp" for item, times in found.blurred],
    )
    notes = _notes(found)
    if notes:
        show.line()
    for note in notes:
        show.line(note)


def _notes(found: Findings) -> list[str]:
    from edgexfer.core.findings import IMBALANCE

    notes = []
    if found.groups:
        wide = f", {found.wide_groups} of them with images of several classes"
        notes.append(f"groups: {found.groups}{wide}; {show.count(found.grouped, 'image')} in them")
    if found.small_px is not None:
        notes.append(
            f"small images: the median short side is {found.small_px:g} pixels; training enlarges them to "
            f"{found.wanted_px}, which shows nothing new"
        )
    if found.imbalance > IMBALANCE and len(found.counts) > 1:
        notes.append(_imbalance(found))
    return notes


def _imbalance(found: Findings) -> str:
    most = max(found.counts, key=lambda label: found.counts[label])
    least = min(found.counts, key=lambda label: found.counts[label])
    if not math.isfinite(found.imbalance):
        return f"imbalance: class '{least}' has no image to train on, '{most}' has {found.counts[most]}"
    return (
        f"imbalance: '{most}' has {found.imbalance:.1f} times the images of '{least}' ({found.counts[most]} and "
        f"{found.counts[least]}); training weighs each image of a rare class more, macro F1 and recall tell how it does"
    )


def _pairs(found: Findings, kind: str) -> Sequence[str]:
    return [f"{_named(pair)} ({100 * pair.correlation:.0f} % alike)" for pair in found.of_kind(kind)]


def _named(pair: NearDuplicate) -> str:
    one, other = pair.first, pair.second
    if pair.kind == "other-class":
        return f"{one.name} ({one.sample.label}) ~ {other.name} ({other.sample.label})"
    return f"{one.name} ~ {other.name}"
