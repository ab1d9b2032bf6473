"""`edgexfer bench --threads 1,2 --batch 1,8`: the table of threads and batches."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from edgexfer.cli import show
from edgexfer.core.errors import SettingsError

if TYPE_CHECKING:
    from edgexfer.gate.measure.surface import Surface


def numbers(name: str, text: str | None) -> list[int]:
    """Returns the whole numbers of a list such as "1,2,4"; none where the option was not given.

    Raises:
        SettingsError: something else than whole numbers of 1 and more.
    """
    found = [] if text is None else [part.strip() for part in text.split(",")]
    if not all(part.isascii() and part.isdigit() and int(part) > 0 for part in found):
        raise SettingsError(f"{name} is '{text}', expected a number of 1 or more, or several such as 1,2,4")
    return [int(part) for part in found]


def print_surface(
    bundle: Path,
    threads: list[int],
    batches: list[int],
    seconds: float | None,
    images: Path | None,
    json_file: str | None,
    backend: str | None,
) -> None:
    """Measures all combinations and prints them, or writes their record."""
    from edgexfer.core.threads import cpu_count
    from edgexfer.gate.measure import surface as measured

    with show.progress("measuring") as moved:
        found = measured.surface(
            bundle,
            threads=threads or [cpu_count()],
            batches=batches or [1],
            seconds=measured.SECONDS if seconds is None else seconds,
            images=images,
            backend=backend,
            progress=moved,
        )
    if json_file != "-":
        _print(found)
    if json_file is not None:
        show.write_record(found.to_json(), json_file)


def _print(found: Surface) -> None:
    from edgexfer.gate.machine.host import machine_class

    subject = found.subject
    show.line(f"{subject.bundle} ({subject.precision}, {subject.engine})", "bold")
    show.line(f"on {machine_class(found.host)}", "dim")
    figures = ("threads", "images", "p50 ms", "p95 ms", "ms an image", "images/s")
    made = show.table("what", *figures, right=figures)
    best = max((point for point in found.points if point.what == "inference"), key=lambda point: point.images_per_s)
    for point in found.points:
        made.add_row(
            {"inference": "inference, one call"}.get(point.what, f"JPEG to label, {point.what}"),
            str(point.threads),
            str(point.batch),
            f"{point.p50_ms:.2f}",
            f"{point.p95_ms:.2f}",
            f"{point.p50_ms / point.batch:.2f}",
            f"{point.images_per_s:.0f}",
            style="bold" if point is best else "",
        )
    show.console().print(made)
    show.line(f"JPEGs are {found.images}; streamed: the next is decoded while this one is inferred", "dim")
    if not found.steady:
        show.warn("times had not settled when they were counted; close other programs, or give more --seconds")
