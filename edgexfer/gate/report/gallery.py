"""Gallery: the images from which the most is learned, to look at: mistakes that were sure, answers that flipped."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from edgexfer.core.errors import DataError
from edgexfer.gate.judge.verdict import Flip
from edgexfer.gate.measure.evaluation import Evaluation, ImageResult
from edgexfer.gate.report.thumbnails import Thumbnail, Wanted, thumbnails

log = logging.getLogger(__name__)

MOST_SHOWN = 24
KINDS = {"lost": "right before, wrong now", "won": "wrong before, right now", "changed": "wrong both times"}


@dataclass(frozen=True)
class Shown:
    """One image of a gallery.

    Attributes:
        path: relative to the data set's root.
        sha256: of the file, or its first 16 digits.
        label: the true class.
        answers: (who, class, score in words or "", whether it is right).
        kind: a short judgement, such as "right before, wrong now".
        thumbnail: the picture; None where the image is not at hand.
    """

    path: str
    sha256: str
    label: str
    answers: tuple[tuple[str, str, str, bool], ...]
    kind: str
    thumbnail: Thumbnail | None = None

    @property
    def text(self) -> str:
        """What is to be known of it, for whoever does not see it."""
        said = "; ".join(f"{who} says {label}{f' ({score})' if score else ''}" for who, label, score, _ in self.answers)
        return f"An image of {self.label}, {self.path}. {said}. {self.kind[:1].upper()}{self.kind[1:]}."


@dataclass(frozen=True)
class Gallery:
    """Images of one kind.

    Attributes:
        name: its id on the page.
        title: in words.
        about: how to look at them.
        images: at most MOST_SHOWN.
        more: how many are not shown.
    """

    name: str
    title: str
    about: str
    images: tuple[Shown, ...]
    more: int

    @property
    def absent(self) -> int:
        """How many of the images are not at hand."""
        return sum(image.thumbnail is None for image in self.images)


def worst(evaluation: Evaluation, precision: str) -> Gallery:
    """Chooses the mistakes with the highest scores."""
    wrong = sorted((i for i in evaluation.images if i.label != i.predicted), key=lambda i: (-i.score, i.path))
    shown = tuple(
        Shown(
            i.path, i.sha256, i.label, ((precision, i.predicted, f"{100 * i.score:.1f} %", False),),
            f"the true class has {100 * i.score_label:.1f} %",
        )
        for i in wrong[:MOST_SHOWN]
    )  # fmt: skip
    about = "Wrong answers, the surest first. Look for labels that are wrong, and for what these images have in common."
    return Gallery("worst", "Surest mistakes", about, shown, len(wrong) - len(shown))


def flipped(before: Evaluation, after: Evaluation, names: tuple[str, str]) -> Gallery:
    """Chooses the images that two precisions of a network answer differently; lost ones first."""
    earlier = {(i.path, i.sha256): i for i in before.images}
    pairs = [(earlier[i.path, i.sha256], i) for i in after.images if (i.path, i.sha256) in earlier]
    changed = [_flip(one, other, names) for one, other in pairs if one.predicted != other.predicted]
    order = list(KINDS.values())
    changed.sort(key=lambda image: (order.index(image.kind), image.path))
    about = (
        f"Of {len(pairs)} images {names[0]} and {names[1]} answer {len(changed)} differently."
        if changed
        else f"None: {names[0]} and {names[1]} give the same answer to all {len(pairs)} images."
    )
    shown = tuple(changed[:MOST_SHOWN])
    return Gallery("flipped", f"Flipped by {names[1]}", about, shown, len(changed) - len(shown))


def flipped_since(flips: Sequence[Flip], baseline: str) -> Gallery:
    """Chooses the images that the baseline answered differently; lost ones first."""
    order = list(KINDS)
    changed = [
        Shown(
            f.path, f.sha256, f.label,
            (("baseline", f.before, "", f.before == f.label), ("this bundle", f.after, "", f.after == f.label)),
            KINDS[f.kind],
        )
        for f in sorted(flips, key=lambda flip: (order.index(flip.kind), flip.path))
    ]  # fmt: skip
    about = f"Images that {baseline or 'the baseline'} and this bundle answer differently."
    shown = tuple(changed[:MOST_SHOWN])
    return Gallery("flipped-since", "Flipped against the baseline", about, shown, len(changed) - len(shown))


def with_thumbnails(
    galleries: Sequence[Gallery], data: str | Path | None, recorded: Iterable[str]
) -> tuple[list[Gallery], str]:
    """Puts the pictures into galleries.

    Args:
        galleries: without pictures.
        data: the data set as the user names it, or None for one of `recorded` that is there.
        recorded: where the images were when they were judged.

    Returns:
        The galleries; and where the images were looked for, or "" where that is nowhere.

    Raises:
        DataError: `data` does not exist.
    """
    wanted = [Wanted(image.path, image.sha256) for gallery in galleries for image in gallery.images]
    place = Path(data) if data is not None else next((Path(p) for p in recorded if p and Path(p).exists()), None)
    if place is None or not wanted:
        if data is not None and not Path(data).exists():
            raise DataError(f"{data} does not exist, expected the data set", "name where the images are with --data")
        return list(galleries), "" if place is None else str(place)
    found = thumbnails(wanted, place)
    fill: Callable[[Shown], Shown] = lambda image: replace(image, thumbnail=found.get(image.sha256))  # noqa: E731
    return [replace(g, images=tuple(map(fill, g.images))) for g in galleries], str(place)


def _flip(before: ImageResult, after: ImageResult, names: tuple[str, str]) -> Shown:
    kind = Flip(after.path, after.sha256, after.label, before.predicted, after.predicted).kind
    answers = tuple(
        (name, i.predicted, f"{100 * i.score:.1f} %", i.predicted == i.label)
        for name, i in zip(names, (before, after), strict=True)
    )
    return Shown(after.path, after.sha256, after.label, answers, KINDS[kind])
