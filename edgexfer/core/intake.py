"""Intake: every image is hashed and decoded once, before anything is made from it.

Dataset in, Intake out: the usable images with SHA-256 and size, and every file that is left out with the
reason. Copies (same SHA-256) stay where they share class and split, and never end up on both sides of a split.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from statistics import median
from typing import Any

from PIL import Image

from edgexfer.core.dataset import SPLITS, Dataset, Rejected, Sample, check_trainable
from edgexfer.core.decode import decode, read_image_file, upright_size
from edgexfer.core.errors import DataError, ImageError
from edgexfer.core.files import sha256_of_bytes
from edgexfer.core.threads import Progress, in_threads

_LISTED = 10
_UNNAMED = re.compile(r"^the (file|image of \d+ bytes) ")


@dataclass(frozen=True, slots=True)
class Usable:
    """One image that was decoded in full.

    Attributes:
        index: its place in `Dataset.samples`.
        sample: what the user listed: path, label, split.
        name: its path relative to the data set's root, with forward slashes.
        sha256: of the file's bytes, 64 hexadecimal digits.
        width: in pixels, upright.
        height: in pixels, upright.
    """

    index: int
    sample: Sample
    name: str
    sha256: str
    width: int
    height: int


@dataclass(frozen=True)
class Intake:
    """What came in.

    Attributes:
        dataset: as it was read.
        samples: the usable images, in the order of `dataset.samples`.
        rejected: every file that is left out, conflicts and copies across splits included; sorted by path.
        duplicates: groups of usable images with the same content (and so the same class and split).
        conflicts: groups of images with the same content in different classes; all of them are rejected.
    """

    dataset: Dataset
    samples: tuple[Usable, ...]
    rejected: tuple[Rejected, ...]
    duplicates: tuple[tuple[Usable, ...], ...]
    conflicts: tuple[tuple[Usable, ...], ...]

    def require_clean(self, strict: bool, *, least_classes: int = 2) -> None:
        """Checks that training can go on with what is left.

        Args:
            strict: accept no rejected file at all.
            least_classes: how many are needed, see `check_trainable`.

        Raises:
            DataError: strict and something was rejected; or too few images are left, naming class or split.
        """
        if strict and self.rejected:
            listed = "; ".join(f"{item.path} {item.reason}" for item in self.rejected[:_LISTED])
            more = f"; and {len(self.rejected) - _LISTED} more" if len(self.rejected) > _LISTED else ""
            raise DataError(
                f"{_files(len(self.rejected))} in {self.dataset.root} cannot be used: {listed}{more}",
                "mend or remove them, or leave --strict away to go on without them",
            )
        # A copy is no second image: it could not be in train and val at once.
        different = {(item.sample.label, item.sample.split, item.sha256): item.sample for item in self.samples}
        left = replace(self.dataset, samples=tuple(different.values()))
        for split in self.dataset.splits():
            if split not in left.splits():
                raise DataError(
                    f"{self.dataset.root} has no usable images left in {split}",
                    f"see why with `edgexfer data check {self.dataset.root}`",
                )
        check_trainable(left, what="usable images (copies count once)", least_classes=least_classes)

    def counts(self) -> dict[str, dict[str, int]]:
        """Returns {class: {split: usable images}}; the split is "all" where the user has made none."""
        columns = self.dataset.splits() or ("all",)
        table = {label: dict.fromkeys(columns, 0) for label in self.dataset.labels}
        for item in self.samples:
            table[item.sample.label][item.sample.split or "all"] += 1
        return table

    def to_json(self) -> dict[str, Any]:
        """Returns the record that `edgexfer data check --json` writes."""
        return {
            "root": str(self.dataset.root),
            "images": len(self.samples),
            "classes": self.counts(),
            "width": _spread([item.width for item in self.samples]),
            "height": _spread([item.height for item in self.samples]),
            "rejected": [{"path": item.path, "reason": item.reason} for item in self.rejected],
            "duplicates": [[item.name for item in group] for group in self.duplicates],
            "conflicts": [{item.name: item.sample.label for item in group} for group in self.conflicts],
        }


def inspect(
    dataset: Dataset,
    *,
    workers: int | None = None,
    progress: Progress | None = None,
    at_least: tuple[int, int] | None = None,
    on_image: Callable[[int, Image.Image], None] | None = None,
) -> Intake:
    """Hashes and decodes every image of `dataset`, each once.

    Args:
        dataset: as read.
        workers: threads; one for each CPU by default.
        progress: called with (done, all) after each image.
        at_least: (height, width) that `on_image` needs, see `core.decode.decode`. Damage is found as well.
        on_image: called with (index in `dataset.samples`, upright RGB image) for each image that was
            decoded, from several threads at once: whoever needs the pixels takes them here.

    Raises:
        DataError: never for a single bad image, these are in `Intake.rejected`.
    """

    def look(index: int) -> Usable | Rejected:
        sample = dataset.samples[index]
        name = dataset.name_of(sample.path)
        try:
            data = read_image_file(sample.path, "the file")
            image = decode(data, at_least=at_least)
        except ImageError as error:
            return Rejected(name, _UNNAMED.sub("", error.message))  # the report names the file itself
        width, height = upright_size(data) if _may_be_scaled(image, at_least) else image.size
        if on_image is not None:
            on_image(index, image)
        return Usable(index, sample, name, sha256_of_bytes(data), width, height)

    looked = in_threads(look, range(len(dataset.samples)), workers=workers, progress=progress)
    rejected = [*dataset.strays, *(item for item in looked if isinstance(item, Rejected))]
    usable = [item for item in looked if isinstance(item, Usable)]
    conflicts = [group for group in _copies(usable) if len({item.sample.label for item in group}) > 1]
    usable = _without(usable, rejected, {item.index: _conflict(item, group) for group in conflicts for item in group})
    usable = _without(usable, rejected, _across_splits(_copies(usable)))
    return Intake(
        dataset,
        tuple(usable),
        tuple(sorted(rejected, key=lambda item: item.path)),
        tuple(_copies(usable)),
        tuple(conflicts),
    )


def _may_be_scaled(image: Image.Image, at_least: tuple[int, int] | None) -> bool:
    # `decode` scales to no less than `at_least`. Reading the header again costs as much as a small image.
    return at_least is not None and image.width >= at_least[1] and image.height >= at_least[0]


def _copies(usable: Sequence[Usable]) -> list[tuple[Usable, ...]]:
    by_content: dict[str, list[Usable]] = {}
    for item in usable:
        by_content.setdefault(item.sha256, []).append(item)
    return [tuple(group) for group in by_content.values() if len(group) > 1]


def _conflict(item: Usable, group: tuple[Usable, ...]) -> str:
    other = next(other for other in group if other.sample.label != item.sample.label)
    return f"has the same content as {other.name}, which is in class '{other.sample.label}': both are left out"


def _across_splits(copies: Sequence[tuple[Usable, ...]]) -> dict[int, str]:
    # What measures the network stays as it was given; what would leak into it goes: train before val before test.
    reasons: dict[int, str] = {}
    for group in copies:
        last = max(group, key=lambda item: _rank(item.sample.split))
        for item in group:
            if item.sample.split != last.sample.split:
                reasons[item.index] = f"has the same content as {last.name}, which is in {last.sample.split}"
    return reasons


def _rank(split: str | None) -> int:
    return -1 if split is None else SPLITS.index(split)


def _without(usable: Sequence[Usable], rejected: list[Rejected], reasons: dict[int, str]) -> list[Usable]:
    rejected += [Rejected(item.name, reasons[item.index]) for item in usable if item.index in reasons]
    return [item for item in usable if item.index not in reasons]


def _spread(values: Sequence[int]) -> dict[str, float] | None:
    return {"min": min(values), "median": median(values), "max": max(values)} if values else None


def _files(count: int) -> str:
    return "1 file" if count == 1 else f"{count} files"
