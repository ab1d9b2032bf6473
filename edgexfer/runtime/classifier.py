"""Classifier: a bundle in, predictions out. What an application on the device uses.

with load("signs.edgx") as classifier:
    prediction = classifier("photo.jpg")
    prediction.label if not prediction.unknown else "something else"
    for prediction in classifier.stream(frames): ...
"""

from __future__ import annotations

import math
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import closing
from functools import partial
from itertools import islice
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Literal, NoReturn, overload

import numpy as np
from numpy.typing import NDArray

from edgexfer.core.bundle import Bundle
from edgexfer.core.errors import BackendError, ImageError, SettingsError
from edgexfer.core.prediction import Prediction
from edgexfer.core.preprocess import Preprocess, Source, pixels
from edgexfer.core.threads import ahead_in_threads, cpu_count
from edgexfer.runtime.open_here import open_here
from edgexfer.runtime.opened import Opened, Watcher
from edgexfer.runtime.swap import check_answers, check_labels

if TYPE_CHECKING:
    from typing_extensions import Self  # typing has it from Python 3.11 on

    from edgexfer.trust.public_keys import Trust

_Decoded = tuple[Source, Preprocess, NDArray[np.uint8]]
"""An image, what its pixels were made by, and those."""


def load(
    bundle: str | Path | Bundle,
    *,
    backend: str | None = None,
    threads: int | None = None,
    timeout_s: float | None = None,
    watch: Watcher | None = None,
    trust: Trust | None = None,
) -> Classifier:
    """Opens a bundle on this machine and runs it once, so that the first prediction is as fast as any.

    Args:
        bundle: folder of the bundle or a zip of it (every file is checked against its digest), or one that is open.
        backend: the engine to run it with; None for the one that `edgexfer build` chose on this machine, else the one
            its target names. "ort" simulates a bundle of another engine on the CPU: same classes, another latency.
        threads: CPU threads of one inference, 1 or more; None for what the target says.
        timeout_s: seconds that the engine may take for one call, be it one image or one batch; None waits for as long
            as it takes. Opening the bundle and decoding images are not counted.
        watch: an `edgexfer.Watch` that counts what is predicted; None for nothing.
        trust: a file with public keys, or several, or such keys: only what one of their owners has signed is opened,
            and nothing older than what this device has opened under that name (docs/security.md). None for anyone's.

    Raises:
        ArtifactError: not a bundle, damaged, tampered with or of another version; with `trust` also one that is
            unsigned, signed by others, or older.
        MissingPartError: the engine is not installed here.
        SettingsError: an unknown backend, threads below 1, or a timeout_s that is no time.
        BackendError: the engine refuses the model.
    """
    if threads is not None and threads < 1:
        raise SettingsError(f"threads is {threads}, expected 1 or more")
    if timeout_s is not None and not 0 < timeout_s < math.inf:
        raise SettingsError(f"timeout_s is {timeout_s}, expected more than 0 seconds, or None to wait")
    # swap() opens the next bundle in the same way: what `load` is told about the first holds for it, too.
    reopen = partial(open_here, backend=backend, threads=threads, timeout_s=timeout_s, watch=watch, trust=trust)
    opened = reopen(bundle)
    opened.accept()
    if watch is not None:
        watch.begin(opened.bundle)
    return Classifier(opened, reopen, watch)


class Classifier:
    """A bundle open on this machine. Several threads may call it at once; close it when done.

    It belongs to the process that loaded it: it cannot be pickled, and a forked child is refused.
    """

    def __init__(
        self, opened: Opened, reopen: Callable[[str | Path | Bundle], Opened], watch: Watcher | None = None
    ) -> None:
        self._opened = opened
        self._reopen = reopen
        self._watch = watch
        self._swapping = threading.Lock()
        self._replacing = threading.Lock()
        self._closed = False

    @property
    def bundle(self) -> Bundle:
        """What is open."""
        return self._opened.bundle

    @property
    def labels(self) -> tuple[str, ...]:
        """Class names in the order of the probabilities."""
        return self._opened.bundle.labels

    @property
    def preprocess(self) -> Preprocess:
        """How an image becomes the network's pixels."""
        return self._opened.bundle.preprocess

    @property
    def backend(self) -> str:
        """Name of the backend that runs it."""
        return self._opened.backend

    @property
    def known_from(self) -> float | None:
        """The score below which a prediction is `unknown`; None where the bundle has no such threshold."""
        return self._opened.known_from

    def __call__(self, image: Source) -> Prediction:
        """Classifies one image.

        Args:
            image: path, bytes of an image file, PIL image, or uint8 array [H, W, 3] RGB.

        Raises:
            ImageError: it cannot be decoded.
            BackendError: the engine failed, or this classifier is closed.
            EngineTimeoutError: the engine took longer than `timeout_s`.
        """
        with self._current() as opened:
            return opened.answers([image], pixels(image, opened.preprocess)[np.newaxis])[0]

    @overload
    def batch(
        self, images: Iterable[Source], batch_size: int = 32, *, errors: Literal["raise"] = "raise"
    ) -> list[Prediction]: ...

    @overload
    def batch(
        self, images: Iterable[Source], batch_size: int = 32, *, errors: Literal["yield"]
    ) -> list[Prediction | ImageError]: ...

    def batch(
        self, images: Iterable[Source], batch_size: int = 32, *, errors: Literal["raise", "yield"] = "raise"
    ) -> list[Prediction] | list[Prediction | ImageError]:
        """Classifies many images, `batch_size` at a time; returns one prediction each, in their order.

        While one batch is inferred, other threads decode the next, as many as this process may use CPUs.

        Args:
            images: as many as there are.
            batch_size: how many are inferred at once, 1 or more.
            errors: "yield" gives the error of an image that cannot be decoded in its prediction's place and goes on.

        Raises:
            SettingsError: batch_size below 1.
            ImageError: one of them cannot be decoded, and errors is "raise".
            BackendError: the engine failed, or this classifier is closed.
            EngineTimeoutError: the engine took longer than `timeout_s`.
        """
        if batch_size < 1:
            raise SettingsError(f"batch_size is {batch_size}, expected 1 or more")
        predictions: list[Prediction | ImageError] = []
        work = self._decoded if errors == "raise" else self._decoded_or_error
        with closing(ahead_in_threads(work, images, ahead=batch_size, workers=cpu_count())) as decoded:
            while chunk := list(islice(decoded, batch_size)):
                good = [each for each in chunk if not isinstance(each, ImageError)]
                answers = iter(self._answers(good) if good else ())
                predictions += [each if isinstance(each, ImageError) else next(answers) for each in chunk]
        return predictions

    @overload
    def stream(self, frames: Iterable[Source], *, errors: Literal["raise"] = "raise") -> Iterator[Prediction]: ...

    @overload
    def stream(self, frames: Iterable[Source], *, errors: Literal["yield"]) -> Iterator[Prediction | ImageError]: ...

    def stream(
        self, frames: Iterable[Source], *, errors: Literal["raise", "yield"] = "raise"
    ) -> Iterator[Prediction | ImageError]:
        """Classifies frames one by one, in their order, for as long as they come.

        While one frame is inferred, a second thread fetches and decodes the next: at most one is read ahead.
        An exception, of `frames` or of an image, arrives when it is that frame's turn and ends the stream. A stream
        that is closed, or no longer referred to, ends once the frame that is being fetched is there.

        Args:
            frames: may be endless, such as a camera.
            errors: "yield" gives the error of a frame that cannot be decoded in its prediction's place and goes on.

        Raises:
            ImageError: a frame cannot be decoded, and errors is "raise".
            BackendError: the engine failed, or this classifier is closed.
            EngineTimeoutError: the engine took longer than `timeout_s`.
        """
        from concurrent.futures import ThreadPoolExecutor  # noqa: PLC0415 - of no use to who does not stream

        source = iter(frames)

        work = self._decoded if errors == "raise" else self._decoded_or_error

        def fetch() -> _Decoded | ImageError | None:
            for frame in source:
                return work(frame)
            return None

        with ThreadPoolExecutor(1, thread_name_prefix="edgexfer-decode") as decoder:
            current = decoder.submit(fetch).result()
            while current is not None:
                upcoming = decoder.submit(fetch)
                yield current if isinstance(current, ImageError) else self._answers([current])[0]
                current = upcoming.result()

    def probabilities(self, batch: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Runs the network on pixels that `preprocess` made: uint8 [N, H, W, 3] to float32 [N, classes].

        Raises:
            ImageError: another dtype or shape.
            BackendError: the engine failed, or this classifier is closed.
            EngineTimeoutError: the engine took longer than `timeout_s`.
        """
        with self._current() as opened:
            expected = (opened.preprocess.height, opened.preprocess.width, 3)
            if batch.dtype != np.uint8 or batch.ndim != 4 or batch.shape[1:] != expected:
                wanted = ", ".join(map(str, expected))
                raise ImageError(f"the batch is {batch.dtype} {list(batch.shape)}, expected uint8 [N, {wanted}]")
            if len(batch) == 0:
                return np.empty((0, len(opened.bundle.labels)), np.float32)
            return opened.session.run(batch)

    def swap(self, bundle: str | Path | Bundle, *, other_labels: bool = False) -> Bundle:
        """Puts another bundle in the place of this one, while other threads go on predicting.

        It is opened as `load` was told to and must answer its reference images as it did at export. Predictions that
        have begun end with the old one, later ones are made by the new one; the old one is closed after its last.
        Where anything fails the old one goes on as if nothing had been asked. Both are in memory for a while.

        Args:
            bundle: folder of the new one, or one that is open.
            other_labels: accept classes other than the present ones, or in another order. Each prediction carries the
                labels of the network that made it.

        Returns:
            The bundle that was open before: `swap` takes it, too.

        Raises:
            ArtifactError: not a bundle, damaged, or with other classes.
            BackendError: it does not answer here as it did at export, or this classifier is closed.
            EdgexferError: what `load` raises.
        """
        self._opened.refuse_forked()  # first: a lock that another thread held in the parent stays locked here
        with self._swapping:
            new = self._reopen(bundle)
            try:
                if not other_labels:
                    check_labels(self.bundle, new.bundle)
                check_answers(new)
                new.accept()
                before = self._replace(new)
            except BaseException:
                new.close()
                raise
        before.close()
        return before.bundle

    def close(self) -> None:
        """Refuses further predictions; frees the engine once those that have begun are done. May be called twice."""
        if self._opened.forked:
            return  # what the parent still uses is not ended from here
        with self._replacing:
            self._closed = True
        self._opened.close()
        if self._watch is not None:
            self._watch.close()

    def _decoded(self, image: Source) -> _Decoded:
        with self._current() as opened:
            return image, opened.preprocess, pixels(image, opened.preprocess)

    def _decoded_or_error(self, image: Source) -> _Decoded | ImageError:
        try:
            return self._decoded(image)
        except ImageError as error:
            return error

    def _answers(self, decoded: list[_Decoded]) -> list[Prediction]:
        with self._current() as opened:
            now = opened.preprocess  # another one's, where a swap came between
            rows = [made if by == now else pixels(image, now) for image, by, made in decoded]
            return opened.answers([image for image, *_ in decoded], np.stack(rows))

    def _replace(self, new: Opened) -> Opened:
        with self._replacing:
            if self._closed:
                raise self._closed_error()
            before, self._opened = self._opened, new
        if self._watch is not None:
            self._watch.begin(new.bundle)
        return before

    def _current(self) -> Opened:
        """Returns what is open, lent to this thread until the `with` on it ends."""
        opened = self._opened
        while not opened.enter():
            if opened is self._opened:
                raise self._closed_error()
            opened = self._opened
        return opened

    def _closed_error(self) -> BackendError:
        return BackendError(f"the classifier of {self.bundle.folder} is closed", "load the bundle again")

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def __reduce__(self) -> NoReturn:
        raise BackendError(
            f"{self!r} belongs to its process and cannot be pickled or copied",
            "give the other process the bundle's path, and call load() there",
        )

    def __repr__(self) -> str:
        return f"Classifier({str(self.bundle.folder)!r}, {len(self.labels)} labels)"
