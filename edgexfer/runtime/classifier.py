"""Classifier: a bundle in, predictions out. What an application on the device uses.

with load("signs.edgx") as classifier:
    prediction = classifier("photo.jpg")
    prediction.label if not prediction.unknown else "something else"
    for prediction in classifier.stream(frames): ...
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import islice
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from edgexfer.backends import Backend, Session, find_backend, missing_here
from edgexfer.core.bundle import Bundle, open_bundle
from edgexfer.core.errors import ImageError, MissingPartError, SettingsError
from edgexfer.core.prediction import Prediction
from edgexfer.core.preprocess import Preprocess, Source, pixels
from edgexfer.runtime.chosen import chosen_here

if TYPE_CHECKING:
    from typing_extensions import Self  # typing has it from Python 3.11 on

    from edgexfer.trust.public_keys import Trust

_SIMULATE = 'simulate it on the CPU: load(bundle, backend="ort"), or --backend ort on the command line'


def load(
    bundle: str | Path | Bundle, *, backend: str | None = None, threads: int | None = None, trust: Trust | None = None
) -> Classifier:
    """Opens a bundle on this machine and runs it once, so that the first prediction is as fast as any.

    Args:
        bundle: folder of the bundle or a zip of it (every file is checked against its digest), or one that is open.
        backend: the engine to run it with; None for the one that `edgexfer build` chose on this machine, else the one
            its target names. "ort" simulates a bundle of another engine on the CPU: same classes, another latency.
        threads: CPU threads of one inference, 1 or more; None for what the target says.
        trust: a file with public keys, or several, or such keys: only what one of their owners has signed is opened,
            and nothing older than what this device has opened under that name (docs/security.md). None for anyone's.

    Raises:
        ArtifactError: not a bundle, damaged, tampered with or of another version; with `trust` also one that is
            unsigned, signed by others, or older.
        MissingPartError: the engine is not installed here.
        SettingsError: an unknown backend, or threads below 1.
        BackendError: the engine refuses the model.
    """
    if threads is not None and threads < 1:
        raise SettingsError(f"threads is {threads}, expected 1 or more")
    signed = None
    if trust is not None:
        from edgexfer.trust.verify import check_signed  # noqa: PLC0415 - of no use to who trusts everybody

        signed = check_signed(bundle.folder if isinstance(bundle, Bundle) else Path(bundle), trust)
    opened = bundle if isinstance(bundle, Bundle) else open_bundle(bundle)
    if signed is not None:
        signed.check_is(opened)
    choice = chosen_here(opened, backend)
    if choice is not None:
        opened, backend = opened.at(choice.precision), choice.backend
    session = backend_for(opened, backend).open_session(opened, threads=threads)
    try:
        preprocess = opened.preprocess
        session.run(np.zeros((1, preprocess.height, preprocess.width, 3), np.uint8))
        if signed is not None:
            signed.accept()  # what does not run here leaves the way back to what did
    except BaseException:
        session.close()
        raise
    return Classifier(opened, session, backend or opened.target.backend)


class Classifier:
    """A bundle open on this machine. Several threads may call it at once; close it when done.

    Attributes:
        bundle: what is open.
        labels: class names in the order of the probabilities.
        preprocess: how an image becomes the network's pixels.
        backend: name of the backend that runs it.
        known_from: the score below which a prediction is `unknown`; None where the bundle has no such threshold.
    """

    def __init__(self, bundle: Bundle, session: Session, backend: str) -> None:
        self.bundle = bundle
        self.backend = backend
        self.labels = bundle.labels
        self.preprocess: Preprocess = bundle.preprocess
        self.known_from = bundle.known_from
        self._session = session

    def __call__(self, image: Source) -> Prediction:
        """Classifies one image.

        Args:
            image: path, bytes of an image file, PIL image, or uint8 array [H, W, 3] RGB.

        Raises:
            ImageError: it cannot be decoded.
            BackendError: the engine failed, or this classifier is closed.
        """
        return self._prediction(self._session.run(pixels(image, self.preprocess)[np.newaxis])[0])

    def batch(self, images: Iterable[Source], batch_size: int = 32) -> list[Prediction]:
        """Classifies many images, `batch_size` at a time; returns one prediction each, in their order.

        Raises:
            SettingsError: batch_size below 1.
            ImageError: one of them cannot be decoded.
            BackendError: the engine failed, or this classifier is closed.
        """
        if batch_size < 1:
            raise SettingsError(f"batch_size is {batch_size}, expected 1 or more")
        predictions: list[Prediction] = []
        remaining = iter(images)
        while chunk := [pixels(image, self.preprocess) for image in islice(remaining, batch_size)]:
            rows = self._session.run(np.stack(chunk))
            predictions.extend(self._prediction(row) for row in rows)
        return predictions

    def stream(self, frames: Iterable[Source]) -> Iterator[Prediction]:
        """Classifies frames one by one, in their order, for as long as they come.

        While one frame is inferred, a second thread fetches and decodes the next: at most one is read ahead.
        An exception, of `frames` or of an image, arrives when it is that frame's turn and ends the stream.

        Raises:
            ImageError: a frame cannot be decoded.
            BackendError: the engine failed, or this classifier is closed.
        """
        from concurrent.futures import ThreadPoolExecutor  # noqa: PLC0415 - of no use to who does not stream

        source = iter(frames)

        def fetch() -> NDArray[np.uint8] | None:
            for frame in source:
                return pixels(frame, self.preprocess)
            return None

        with ThreadPoolExecutor(1, thread_name_prefix="edgexfer-decode") as decoder:
            current = decoder.submit(fetch).result()
            while current is not None:
                upcoming = decoder.submit(fetch)
                yield self._prediction(self._session.run(current[np.newaxis])[0])
                current = upcoming.result()

    def probabilities(self, batch: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Runs the network on pixels that `preprocess` made: uint8 [N, H, W, 3] to float32 [N, classes].

        Raises:
            ImageError: another dtype or shape.
            BackendError: the engine failed, or this classifier is closed.
        """
        expected = (self.preprocess.height, self.preprocess.width, 3)
        if batch.dtype != np.uint8 or batch.ndim != 4 or batch.shape[1:] != expected:
            wanted = ", ".join(map(str, expected))
            raise ImageError(f"the batch is {batch.dtype} {list(batch.shape)}, expected uint8 [N, {wanted}]")
        if len(batch) == 0:
            return np.empty((0, len(self.labels)), np.float32)
        return self._session.run(batch)

    def _prediction(self, row: NDArray[np.float32]) -> Prediction:
        return Prediction(row, self.labels, self.known_from)

    def close(self) -> None:
        """Frees what the engine holds. May be called twice."""
        self._session.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"Classifier({str(self.bundle.folder)!r}, {len(self.labels)} labels)"


def backend_for(bundle: Bundle, wanted: str | None = None, *, otherwise: str = _SIMULATE) -> Backend:
    """Returns the backend that runs `bundle` here: `wanted`, or the one its target names.

    Args:
        bundle: any.
        wanted: name of another backend than the target's.
        otherwise: what the user can do where it is not here, for the error's hint.

    Raises:
        MissingPartError: it is not installed here, or no such backend is known.
        SettingsError: `wanted` is unknown.
    """
    target = bundle.target
    name = wanted or target.backend
    try:
        backend = find_backend(name)
    except SettingsError as error:
        if wanted is not None:
            raise
        raise MissingPartError(
            f"{bundle.folder} is made for '{name}' (target '{target.name}'), and this edgexfer has no such backend",
            otherwise,
        ) from error
    reason = backend.missing()
    if reason is not None:
        raise MissingPartError(f"{bundle.folder} cannot run here: {reason}", _instead(bundle, name, otherwise))
    return backend


def _instead(bundle: Bundle, missing: str, otherwise: str) -> str:
    """Returns what to do where the backend `missing` is not here: another that runs the same file, or `otherwise`."""
    target = bundle.target
    rivals = [name for name in target.rivals if missing == target.backend and missing_here(name) is None]
    if rivals:
        return f"or let `edgexfer build {bundle.folder}` take {rivals[0]}, which is here"
    return "" if missing in ("ort", *target.rivals) else otherwise
