"""Timing: the clockwork of all that measures latency. One image at a time, as a device does it.

Timed are decode (bytes of a file to RGB), resize (to the network's pixels), inference (pixels to probabilities)
and total (all three, as `classifier(image)` does them).
"""

from __future__ import annotations

import gc
import io
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from itertools import count
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from edgexfer.core.bundle import Bundle
from edgexfer.core.errors import DataError, ImageError, SettingsError
from edgexfer.core.files import sha256_of_bytes
from edgexfer.core.preprocess import decode, resize_image
from edgexfer.core.sample import is_ignored_name, is_image_name
from edgexfer.core.target import Target
from edgexfer.gate.machine.fitness import objections
from edgexfer.gate.measure.latency import STEPS
from edgexfer.runtime.classifier import Classifier

Progress = Callable[[float, float], None]
"""Called with (done, all): seconds of measuring, or images."""
CAMERA = (640, 480)  # width, height of the JPEGs that stand for a camera's, in pixels
MAX_IMAGES = 64
_DIGITS = 12  # of the SHA-256 that tells sets of images apart
_WARMUP_WINDOW = 10
_WARMUP_SECONDS = 3.0
_STEADY = 0.05
_SPREAD = 2.0  # p95 / p50 of a fixed amount of arithmetic on a quiet machine stays far below


def check_seconds(seconds: float) -> None:
    """Raises SettingsError where `seconds` is not a number more than 0 and at most an hour."""
    if not 0 < seconds <= 3600:
        raise SettingsError(f"seconds is {seconds:g}, expected more than 0 and at most 3600")


def encoded_images(bundle: Bundle, images: str | Path | None) -> tuple[list[bytes], str]:
    """Returns the files to measure with, in memory, and what they are in words.

    Raises:
        DataError: `images` is no folder with images that can be decoded.
    """
    if images is not None:
        return _from_folder(Path(images))
    files = []
    for array in bundle.references()[0]:
        memory = io.BytesIO()
        Image.fromarray(array).resize(CAMERA, Image.Resampling.BICUBIC).save(memory, "JPEG", quality=90)
        files.append(memory.getvalue())
    return files, f"{len(files)} reference images as JPEG of {CAMERA[0]} x {CAMERA[1]} pixels"


def warm_up(
    side: Callable[[int], Mapping[str, int]],
    *,
    clock: Callable[[], int] = time.perf_counter_ns,
    calls: int | None = None,
) -> tuple[int, bool, float]:
    """Calls until two windows of 10 calls have medians within 5 %, or 3 seconds have passed.

    Args:
        side: makes one call with the image of this index; returns the nanoseconds of each step.
        clock: nanoseconds.
        calls: so many and no more, where the process is warm already.

    Returns:
        How many calls were made, whether they became steady, and the nanoseconds of a median call.
    """
    samples: list[int] = []
    started, previous = clock(), 0.0
    for index in count():
        samples.append(side(index)["total"])
        if calls is not None:
            if len(samples) == calls:
                return calls, True, float(np.median(samples))
            continue
        late = clock() - started > _WARMUP_SECONDS * 1e9
        if len(samples) % _WARMUP_WINDOW == 0:
            median = float(np.median(samples[-_WARMUP_WINDOW:]))
            if abs(median - previous) <= _STEADY * median:
                return len(samples), True, median
            previous = median
        if late:
            break
    return len(samples), False, float(np.median(samples[-_WARMUP_WINDOW:]))


def timed_call(
    classifier: Classifier, data: bytes, *, clock: Callable[[], int] = time.perf_counter_ns
) -> dict[str, int]:
    """Classifies one encoded image; returns the nanoseconds of each step."""
    preprocess = classifier.preprocess
    start = clock()
    image = decode(data, at_least=preprocess.at_least)
    decoded = clock()
    pixels = resize_image(image, preprocess)
    resized = clock()
    classifier.probabilities(pixels[np.newaxis])
    end = clock()
    return dict(zip(STEPS, (decoded - start, resized - decoded, end - resized, end - start), strict=True))


@contextmanager
def quiet_collector() -> Iterator[None]:
    """Keeps Python's garbage collector from running between two readings of the clock."""
    was_on = gc.isenabled()
    gc.collect()
    gc.disable()
    try:
        yield
    finally:
        if was_on:
            gc.enable()


def doubts(
    samples: Mapping[str, Sequence[int]],
    host: dict[str, Any],
    after: dict[str, Any],
    *,
    steady: bool,
    target: Target | None = None,
) -> tuple[str, ...]:
    """Returns why the samples are not to be trusted, in sentences.

    Args:
        samples: nanoseconds of each step.
        host: facts from before the measurement.
        after: reading of `device_state` from after it.
        steady: whether the warm-up became steady.
        target: what the bundle was made for: its power mode is the one to measure in.
    """
    found: list[str] = []
    if not steady:
        found.append(f"the times were still changing after {_WARMUP_SECONDS:g} s of warm-up")
    middle, late = np.percentile(samples["inference"], (50, 95))
    if late > _SPREAD * middle:
        found.append(
            f"inference varies much (p95 is {late / middle:.1f} times p50): something else uses this machine; "
            "stop it, or measure longer with --seconds"
        )
    return (*found, *objections(host, after, target))


def _from_folder(folder: Path) -> tuple[list[bytes], str]:
    if not folder.is_dir():
        found = "is a file" if folder.exists() else "does not exist"
        raise DataError(f"{folder} {found}, expected a folder with images", "give a folder with --images")
    paths = sorted(path for path in folder.rglob("*") if is_image_name(path) and not is_ignored_name(path.name))
    # Evenly over the sorted paths, so that each class folder has its part.
    chosen = [paths[i * len(paths) // MAX_IMAGES] for i in range(MAX_IMAGES)] if len(paths) > MAX_IMAGES else paths
    read = [_encoded(path) for path in chosen]
    files = [data for data in read if isinstance(data, bytes)]
    if not files:
        reason = next((text for text in read if isinstance(text, str)), "no file is named like one")
        raise DataError(f"{folder} has no image that can be decoded: {reason}", "give a folder with photographs")
    # The same images have the same name, however the path to them is typed and wherever they lie.
    content = sha256_of_bytes("".join(sha256_of_bytes(data) for data in files).encode())[:_DIGITS]
    return files, f"{len(files)} of {len(paths)} images of {folder.resolve().name} (sha256 {content})"


def _encoded(path: Path) -> bytes | str:
    # The file's bytes, or why no image can be made from them.
    try:
        data = path.read_bytes()
        decode(data)
    except OSError as error:
        return f"{path} cannot be read: {error.strerror}"
    except ImageError as error:
        return f"{path.name}: {error.message}"
    return data
