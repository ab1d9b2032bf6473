"""Evaluate: a bundle and images of known class in, an Evaluation with one record per image out.

Images become pixels by the bundle's own preprocess, as they do on the device.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from edgexfer.core.bundle import Bundle
from edgexfer.core.dataset import Dataset, Sample, read_dataset
from edgexfer.core.errors import DataError, ImageError
from edgexfer.core.files import sha256_of_file
from edgexfer.core.labels import check_same_labels
from edgexfer.core.preprocess import pixels
from edgexfer.core.threads import Progress, in_threads
from edgexfer.gate.machine.host import host_facts
from edgexfer.gate.measure.evaluation import Evaluation, ImageResult, LeftOut, Role
from edgexfer.gate.measure.record import subject_of
from edgexfer.gate.measure.roles import choose_roles, flattery, roles_of
from edgexfer.runtime.classifier import Classifier, load

_BATCH = 32
_LISTED = 5
_Known: TypeAlias = "tuple[Sample, str, Role]"  # with the SHA-256 and what the image was


def evaluate(
    bundle: str | Path | Bundle | Classifier,
    data: str | Path,
    *,
    backend: str | None = None,
    threads: int | None = None,
    split: str | None = None,
    partial: bool = False,
    strict: bool = False,
    progress: Progress | None = None,
) -> Evaluation:
    """Asks a bundle about every image that may judge it.

    Args:
        bundle: its folder, or one that is open (it stays open).
        data: a folder of class folders, or a CSV with path,label.
        backend: the engine; None for the one that `load` takes. Of no effect where `bundle` is a Classifier.
        threads: CPU threads of one inference; None for what the target says. As `backend`.
        split: "train", "val", "test", "new" or "all"; None for the images held out the most (gate/measure/roles.py).
        partial: accept that some of the bundle's classes do not occur.
        strict: accept no file that cannot be judged.
        progress: called with (done, all) images.

    Raises:
        DataError: DATA is not usable, its classes do not fit, no image is left, or strict and one is unreadable.
        SettingsError: an unknown split, backend or number of threads.
        EdgexferError: what `load` raises.
    """
    if not isinstance(bundle, Classifier):
        with load(bundle, backend=backend, threads=threads) as classifier:
            return _evaluate(classifier, data, threads, split, partial, strict, progress)
    return _evaluate(bundle, data, threads, split, partial, strict, progress)


def _evaluate(
    classifier: Classifier,
    data: str | Path,
    threads: int | None,
    split: str | None,
    partial: bool,
    strict: bool,
    progress: Progress | None,
) -> Evaluation:
    dataset = read_dataset(data, any_column=True)  # a column of groups is nothing to judge by
    check_same_labels(classifier.labels, dataset.labels, str(data), partial=partial)
    known, unreadable = _with_roles(dataset, roles_of(classifier.bundle))
    if not known:
        raise _nothing_left(data, unreadable)
    chosen = choose_roles([role for _, _, role in known], split, str(data))
    judged = [item for item in known if item[2] in chosen]
    where = (
        f"the part of {data} that judges ({' and '.join(sorted(chosen))})" if len(judged) < len(known) else str(data)
    )
    check_same_labels(classifier.labels, sorted({sample.label for sample, _, _ in judged}), where, partial=partial)

    images: list[ImageResult] = []
    for start in range(0, len(judged), _BATCH):
        images += _ask(classifier, dataset, judged[start : start + _BATCH], unreadable)
        if progress is not None:
            progress(min(start + _BATCH, len(judged)), len(judged))
    if strict and unreadable:
        raise DataError(
            f"{_count(unreadable)} of {data} cannot be judged: {_listed(unreadable)}",
            "mend or remove them, or leave --strict away to go on without them",
        )
    if not images:
        raise _nothing_left(data, unreadable)
    subject = subject_of(classifier)
    return Evaluation(
        subject=subject,
        data=str(data),
        labels=classifier.labels,
        images=tuple(images),
        left_out=dict(Counter(role for _, _, role in known if role not in chosen)),
        unreadable=tuple(sorted(unreadable, key=lambda item: item.path)),
        warnings=flattery([image.role for image in images]),
        host=host_facts(engine=subject.engine, threads=threads),
        known_from=classifier.known_from,
    )


def _with_roles(dataset: Dataset, roles: dict[str, Role]) -> tuple[list[_Known], list[LeftOut]]:
    def look(sample: Sample) -> _Known | LeftOut:
        try:
            sha256 = sha256_of_file(sample.path)
        except OSError as error:
            return LeftOut(dataset.name_of(sample.path), f"cannot be read: {error.strerror}")
        return sample, sha256, roles.get(sha256, "new")

    looked = in_threads(look, dataset.samples)
    unreadable = [LeftOut(stray.path, stray.reason) for stray in dataset.strays]
    unreadable += [item for item in looked if isinstance(item, LeftOut)]
    known = [item for item in looked if not isinstance(item, LeftOut)]
    # One image in two classes is wrong in one of them whatever is answered; training leaves it out as well.
    classes: dict[str, set[str]] = {}
    for sample, sha256, _ in known:
        classes.setdefault(sha256, set()).add(sample.label)
    torn = {sha256: " and ".join(map(repr, sorted(labels))) for sha256, labels in classes.items() if len(labels) > 1}
    unreadable += [
        LeftOut(dataset.name_of(sample.path), f"is the same image in the classes {torn[sha256]}")
        for sample, sha256, _ in known
        if sha256 in torn
    ]
    return [item for item in known if item[1] not in torn], unreadable


def _ask(
    classifier: Classifier, dataset: Dataset, batch: Sequence[_Known], unreadable: list[LeftOut]
) -> list[ImageResult]:
    def read(item: _Known) -> NDArray[np.uint8] | LeftOut:
        path = item[0].path
        try:
            return pixels(path, classifier.preprocess)
        except ImageError as error:
            # The report names the file itself.
            return LeftOut(dataset.name_of(path), error.message.removeprefix(f"{path} "))

    read_in = list(zip(batch, in_threads(read, batch), strict=True))
    unreadable += [array for _, array in read_in if isinstance(array, LeftOut)]
    good = [(item, array) for item, array in read_in if not isinstance(array, LeftOut)]
    if not good:
        return []
    rows = classifier.probabilities(np.stack([array for _, array in good]))
    return [_result(classifier.labels, dataset, item, row) for (item, _), row in zip(good, rows, strict=True)]


def _result(labels: tuple[str, ...], dataset: Dataset, item: _Known, row: NDArray[np.float32]) -> ImageResult:
    sample, sha256, role = item
    best = int(row.argmax())
    return ImageResult(
        path=dataset.name_of(sample.path),
        sha256=sha256,
        role=role,
        label=sample.label,
        predicted=labels[best],
        score=float(row[best]),
        score_label=float(row[labels.index(sample.label)]),
        slices=dict(sample.slices),
    )


def _nothing_left(data: str | Path, unreadable: Sequence[LeftOut]) -> DataError:
    return DataError(
        f"{data} has no image that can be judged: {_listed(unreadable)}", f"see all with `edgexfer data check {data}`"
    )


def _count(unreadable: Sequence[LeftOut]) -> str:
    return "1 file" if len(unreadable) == 1 else f"{len(unreadable)} files"


def _listed(unreadable: Sequence[LeftOut]) -> str:
    listed = "; ".join(f"{item.path} {item.reason}" for item in unreadable[:_LISTED])
    return f"{listed}; and {len(unreadable) - _LISTED} more" if len(unreadable) > _LISTED else listed
