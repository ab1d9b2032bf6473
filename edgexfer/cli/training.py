"""What the verbs that train share: log lines on the terminal, the bar while images are read, Ctrl-C."""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, nullcontext, suppress
from typing import TYPE_CHECKING, Any

from edgexfer.cli import show
from edgexfer.cli.options import TrackerName
from edgexfer.cli.parts import needs
from edgexfer.core.errors import EdgexferError

if TYPE_CHECKING:
    from edgexfer.train.loop.trackers import Tracking


class _Lines(logging.Handler):
    """Prints what the library logs: INFO as it is, one line each, and what is worse as `warning: ...`."""

    def __init__(self, stderr: bool) -> None:
        super().__init__()
        self._stderr = stderr

    def emit(self, record: logging.LogRecord) -> None:
        # A pipe whose reader has left, or a log on a full disk, must not end a training of hours.
        with suppress(OSError), _between_bars():
            if record.levelno >= logging.WARNING:
                show.warn(record.getMessage())
            elif sys.stdout.isatty() and not self._stderr:
                show.line(record.getMessage())
            else:
                stream = sys.stderr if self._stderr else sys.stdout
                stream.write(show.printable(record.getMessage()) + "\n")
                stream.flush()


@contextmanager
def log_lines(*, stderr: bool = False) -> Iterator[None]:
    """Shows while the block runs what edgexfer logs from INFO on, plainly; other packages stay quiet.

    Args:
        stderr: write the lines there, because standard output is a record's.
    """
    log = logging.getLogger("edgexfer")
    handler, level, propagate = _Lines(stderr), log.level, log.propagate
    log.addHandler(handler)
    log.setLevel(min(log.getEffectiveLevel(), logging.INFO))  # --verbose may have asked for more
    log.propagate = False
    try:
        yield
    finally:
        log.removeHandler(handler)
        log.setLevel(level)
        log.propagate = propagate


@contextmanager
def reading_bar() -> Iterator[Callable[[int, int], None]]:
    """Yields what shows a bar while images are read; after the last one it is gone, and makes room for Lightning's."""
    with ExitStack() as open_bar:
        moved: list[show.Progress] = []

        def move(done: int, whole: int) -> None:
            if not moved:
                moved.append(open_bar.enter_context(show.progress("reading images")))
            moved[0](done, whole)
            if done >= whole:
                open_bar.close()

        yield move


@contextmanager
def loading() -> Iterator[None]:
    """Says on a terminal that PyTorch is being loaded, which takes seconds."""
    # Its threads wait busily for each other by default: beside another program on the same cores a training step then
    # takes twelve times as long (measured, 2 cores). It is read when PyTorch is loaded.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    target = show.console(stderr=True)
    with target.status("loading PyTorch") if target.is_terminal else nullcontext():
        yield


def follows() -> bool:
    """Works for the first process where several of a run were started by torchrun or srun, until that one is done.

    Returns:
        False in the first process and in one on its own, at once.

    Raises:
        EdgexferError: this process met an error; it says which one it is.
    """
    from edgexfer.train.processes.place import find_place

    place = find_place()
    if place.rank == 0:
        return False
    try:
        with needs("train"):
            from edgexfer.train.processes.follow import follow
        follow(place)
    except EdgexferError as error:
        raise EdgexferError(f"process {place.rank} of {place.size}: {error.message}", error.hint) from error
    except (KeyboardInterrupt, SystemExit):
        return True  # the first process says what to do
    return True


@contextmanager
def going_on_with(command: Callable[[], str]) -> Iterator[None]:
    """Turns Ctrl-C into an Interrupted that says how to go on.

    Args:
        command: asked when it happens; "" where there is nothing to go on from.

    Raises:
        Interrupted: the user pressed Ctrl-C.
    """
    try:
        yield
    except (KeyboardInterrupt, SystemExit) as error:  # Lightning turns Ctrl-C into sys.exit
        raise show.Interrupted(command()) from error


def tracking_of(loggers: Sequence[TrackerName] | None, place: str | None) -> Tracking:
    """Returns the trackers that a verb was asked for, not yet open; loads nothing heavy.

    Raises:
        SettingsError: a place without a tracker, or an address without MLflow.
        MissingPartError: a tracker's package is not installed.
    """
    from edgexfer.train.loop.trackers import Tracking

    return Tracking([logger.value for logger in loggers or ()], place)


def _between_bars() -> Any:
    # Lightning's bars are tqdm's: while one is drawn, a line goes above it.
    tqdm = sys.modules.get("tqdm")
    return nullcontext() if tqdm is None else tqdm.tqdm.external_write_mode(file=sys.stdout)
