"""Images that an earlier run has divided already stay where they were: what was trained on must not judge later."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping, Sequence

from edgexfer.train.images.units import Unit

log = logging.getLogger(__name__)


def as_before(
    units: Sequence[Unit], labels: Sequence[str], before: Mapping[str, str], fractions: tuple[float, float, float]
) -> tuple[list[tuple[Unit, str]], list[Unit]]:
    """Divides units into those that keep their split, each with it, and those that are still to be drawn.

    Args:
        units: of the classes `labels`, which are drawn together.
        labels: their classes.
        before: the split of images by SHA-256.
        fractions: of train, val and test.

    Returns:
        Known units with their splits, and new ones. A unit that holds images of several splits is trained on: it was
        before, in part. New images too few to be drawn from join the training images. Where a class would have
        nothing to train on or to judge by, all of it is drawn anew, and a warning says what that means.
    """
    kept = [(unit, split) for unit in units if (split := _split_of(unit, before, fractions[2] > 0)) is not None]
    if not kept:
        return [], list(units)
    known = {id(unit) for unit, _ in kept}
    new = [unit for unit in units if id(unit) not in known]
    if all(_drawable(new, label) for label in labels):
        return kept, new
    complete = all({"train", "val"} <= {split for unit, split in kept if label in unit.labels} for label in labels)
    if complete:
        return [*kept, *((unit, "train") for unit in new)], []
    trained = sum(len(unit.samples) for unit, split in kept if split == "train")
    if trained:
        log.warning(
            "%s: images that the earlier network was trained on (%d) are drawn anew, since there are too few others: "
            "figures of val and test flatter",
            _named(labels),
            trained,
        )
    return [], list(units)


def _split_of(unit: Unit, before: Mapping[str, str], with_test: bool) -> str | None:
    found = {before[item.sha256] for item in unit.samples if item.sha256 in before}
    if not found:
        return None
    split = found.pop() if len(found) == 1 else "train"
    return split if with_test or split != "test" else "val"  # the user has a test part already


def _drawable(units: Iterable[Unit], label: str) -> bool:
    return sum(label in unit.labels for unit in units) > 1


def _named(labels: Sequence[str]) -> str:
    shown = ", ".join(f"'{label}'" for label in labels[:3])
    more = f" and {len(labels) - 3} more" if len(labels) > 3 else ""
    return f"class{'es' if len(labels) > 1 else ''} {shown}{more}"
