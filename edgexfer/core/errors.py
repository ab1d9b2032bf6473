"""The exceptions of edgexfer.

    EdgexferError                     something the user can mend; has a message and a hint
    |-- SettingsError(ValueError)     an unknown key, a value out of range, an unknown target
    |-- DataError(ValueError)         the folder or CSV of images is not usable as it is
    |-- ImageError(ValueError)        one image cannot be decoded
    |-- ArtifactError(ValueError)     a checkpoint or bundle is damaged, foreign or of another version
    |-- MissingPartError(ImportError) a package or a file that this step needs is not installed
    |-- BackendError(RuntimeError)    an inference engine refused the model
    |-- EngineTimeoutError(TimeoutError)  an inference engine did not answer within the time it was given
    |-- BusyError(RuntimeError)       another process is at work on the same thing
    `-- RemoteError(RuntimeError)     a device that cannot be reached, or that refuses what it was asked

The command line prints message and hint and exits with code 2; any other exception is a bug of
ours and keeps its traceback.
"""

from __future__ import annotations

from collections.abc import Iterable


class EdgexferError(Exception):
    """Something the user can mend.

    Args:
        message: the thing, what was found and what was expected.
        hint: the command or the change that mends it; empty where there is none.
    """

    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint

    def __str__(self) -> str:
        return f"{self.message} ({self.hint})" if self.hint else self.message


class SettingsError(EdgexferError, ValueError):
    """A setting, target or name that does not exist, or a value out of its range."""


class DataError(EdgexferError, ValueError):
    """A folder or CSV of images that cannot be used as it is."""


class ImageError(EdgexferError, ValueError):
    """One image that cannot be decoded."""


class ArtifactError(EdgexferError, ValueError):
    """A checkpoint or bundle that is damaged, foreign, incomplete or of another version."""


class MissingPartError(EdgexferError, ImportError):
    """A package or file that the requested step needs and this machine does not have."""


class BackendError(EdgexferError, RuntimeError):
    """An inference engine that refused to open or to run the model."""


class EngineTimeoutError(EdgexferError, TimeoutError):
    """An inference engine that did not answer within the time that the application gives it."""


class BusyError(EdgexferError, RuntimeError):
    """Another process works on what this one wants to change; the message says which, and since when."""


class RemoteError(EdgexferError, RuntimeError):
    """A device that cannot be reached over SSH, or that refuses what it was asked."""


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """Returns "did you mean 'x'? " where one of `known` is close to `name`, and the known names."""
    import difflib  # noqa: PLC0415 - errors are the first import of all, and seldom raised

    names = sorted(known)
    close = difflib.get_close_matches(name, names, n=1)
    guess = f"did you mean '{close[0]}'? " if close else ""
    return f"{guess}known: {', '.join(names)}"
