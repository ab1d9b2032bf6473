"""The plugin's options: on the command line as --edgexfer-NAME, or in the ini file as edgexfer_NAME.

A path on the command line is relative to where pytest was called, one in the ini file to that file. Standard library
and pytest alone: every run of pytest imports this.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal, TypeAlias, cast, get_args

import pytest

if TYPE_CHECKING:
    from edgexfer.core.target import Target

Inconclusive: TypeAlias = Literal["fail", "skip", "xfail"]
_NAMES = {
    "target": ("NAME|FILE", "judge by this device profile's limits; bundles made for another are skipped"),
    "baseline": ("PLACE", "file, folder or bundle to compare with; by default baselines/ below the rootdir"),
    "data": ("DATA", "images that accuracy is judged on: a folder of class folders, or a CSV"),
    "seconds": ("S", "how long one limit may be measured for at most"),
    "json": ("FILE", "write every verdict there, with every number"),
    "inconclusive": ("|".join(get_args(Inconclusive)), "what a test becomes that nothing can be said of; default fail"),
}


@dataclass(frozen=True)
class Options:
    """What the user asked for, checked.

    Attributes:
        target: whose limits hold, instead of those inside the bundle; None for those.
        baseline: file, folder or bundle to compare with; None for nothing.
        data: images that accuracy is judged on; None for what the bundle knows.
        seconds: the longest measurement; None for the gate's own.
        json_file: where every verdict goes; None for nowhere.
        inconclusive: what a test becomes that nothing can be said of.
        update: accept what was measured as the new baseline instead of judging regressions.
        why: the reason that the new baseline keeps.
    """

    target: Target | None = None
    baseline: Path | None = None
    data: Path | None = None
    seconds: float | None = None
    json_file: Path | None = None
    inconclusive: Inconclusive = "fail"
    update: bool = False
    why: str = ""


def add_options(parser: pytest.Parser) -> None:
    """Declares every option, and the ini keys of those that may stand in a file."""
    group = parser.getgroup("edgexfer", "limits on the accuracy and latency of edgexfer's bundles")
    for name, (metavar, meaning) in _NAMES.items():
        group.addoption(f"--edgexfer-{name}", dest=f"edgexfer_{name}", metavar=metavar, default=None, help=meaning)
        parser.addini(f"edgexfer_{name}", f"{meaning} (as --edgexfer-{name})", default=None)
    group.addoption(
        "--edgexfer-update-baselines",
        action="store_true",
        default=False,
        help="accept each bundle as the new baseline instead of judging its regressions; wants --edgexfer-why",
    )
    group.addoption("--edgexfer-why", metavar="TEXT", default="", help="why the new baselines are accepted")


def read_options(config: pytest.Config) -> Options:
    """Reads and checks what was asked for.

    Raises:
        pytest.UsageError: a value or a place that does not exist, or options that do not go together.
    """
    inconclusive = _text(config, "inconclusive") or "fail"
    if inconclusive not in get_args(Inconclusive):
        expected = ", ".join(get_args(Inconclusive))
        raise pytest.UsageError(f"--edgexfer-inconclusive is '{inconclusive}', expected one of {expected}")
    update, why = bool(config.getoption("edgexfer_update_baselines")), str(config.getoption("edgexfer_why")).strip()
    if update:
        _check_update(config, why)
    elif why:
        raise pytest.UsageError("--edgexfer-why goes with --edgexfer-update-baselines")
    return Options(
        _target(config),
        _place(config, "baseline") or _standard_baselines(config, update=update),
        _place(config, "data"),
        _seconds(config),
        _place(config, "json", exists=False),
        cast(Inconclusive, inconclusive),
        update,
        why,
    )


def _check_update(config: pytest.Config, why: str) -> None:
    # A baseline is what a person has accepted: it is written by hand, with a reason, and reviewed.
    if not why:
        raise pytest.UsageError("--edgexfer-update-baselines wants a reason for the record: --edgexfer-why TEXT")
    if os.environ.get("CI", "").lower() not in ("", "0", "false"):
        raise pytest.UsageError(
            f"--edgexfer-update-baselines in CI (CI={os.environ['CI']}): nobody would review it; "
            "if a job shall write baselines, let it say so with `edgexfer baseline accept`"
        )
    if hasattr(config, "workerinput") or config.getoption("dist", "no") != "no" or config.getoption("tx", None):
        raise pytest.UsageError("--edgexfer-update-baselines wants one process: give -n 0")


def _target(config: pytest.Config) -> Target | None:
    name = _text(config, "target")
    if name is None:
        return None
    from edgexfer.core.errors import SettingsError  # noqa: PLC0415 - every run of pytest imports this file
    from edgexfer.core.target import load_target  # noqa: PLC0415

    place = _base(config, "target") / name
    try:
        return load_target(str(place) if place.is_file() else name)
    except SettingsError as error:
        raise pytest.UsageError(f"--edgexfer-target: {error}") from None


def _seconds(config: pytest.Config) -> float | None:
    text = _text(config, "seconds")
    if text is None:
        return None
    try:
        seconds = float(text)
    except ValueError:
        seconds = 0.0
    if not 0 < seconds < float("inf"):
        raise pytest.UsageError(f"--edgexfer-seconds is '{text}', expected a number of seconds above 0")
    return seconds


def _standard_baselines(config: pytest.Config, *, update: bool) -> Path | None:
    folder = config.rootpath / "baselines"
    return folder if update or folder.is_dir() else None


def _place(config: pytest.Config, name: str, *, exists: bool = True) -> Path | None:
    text = _text(config, name)
    if text is None:
        return None
    place = (_base(config, name) / text).resolve()
    if exists and not place.exists() and not (name == "baseline" and config.getoption("edgexfer_update_baselines")):
        raise pytest.UsageError(f"--edgexfer-{name}: {place} does not exist")
    if not exists and place.is_dir():
        raise pytest.UsageError(f"--edgexfer-{name}: {place} is a folder: name a file in it")
    return place


def _text(config: pytest.Config, name: str) -> str | None:
    given = config.getoption(f"edgexfer_{name}")
    return (given if given is not None else config.getini(f"edgexfer_{name}")) or None


def _base(config: pytest.Config, name: str) -> Path:
    if config.getoption(f"edgexfer_{name}") is not None:
        return config.invocation_params.dir
    return config.rootpath if config.inipath is None else config.inipath.parent
