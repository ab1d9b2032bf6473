"""Chosen: what `edgexfer build` chose for a bundle, where that holds on this machine as it is now."""

from __future__ import annotations

import logging

from edgexfer.backends import builder_of, device_of, find_backend, missing_here
from edgexfer.core.bundle import Bundle
from edgexfer.core.engine_choice import EngineChoice, read_choice
from edgexfer.core.errors import SettingsError

log = logging.getLogger(__name__)


def chosen_here(bundle: Bundle, backend: str | None = None) -> EngineChoice | None:
    """Returns what `build` chose, where engine and device are still what they were then.

    Args:
        bundle: any; one with a candidate chosen already is opened with the engine that was chosen for that candidate.
        backend: the one that is asked for; a choice of another one does not count.

    Returns:
        None where nothing was chosen, or where what was chosen does not hold here: its engine is not installed, is of
        another version, or was chosen on another device.

    Raises:
        ArtifactError: the record of the choice is damaged or of another format_version.
    """
    if backend is not None and bundle.chosen is not None:
        return None
    if not bundle.target.rivals and not _compiles(backend or bundle.target.backend):
        return None
    choice = read_choice(bundle)
    if choice is None or backend not in (None, choice.backend) or bundle.chosen not in (None, choice.precision):
        return None
    if reason := _outdated(choice):
        log.info("%s was chosen for %s: %s", choice.backend, bundle.folder, reason)
        return None
    return choice


def _outdated(choice: EngineChoice) -> str:
    """Returns why the choice does not hold here, "" where it does."""
    if reason := missing_here(choice.backend):
        return reason
    backend = find_backend(choice.backend)
    found = [
        f"{name} was {old} and is {new}"
        for name, old, new in (
            ("the engine", choice.engine, backend.engine_version()),
            ("the device", choice.device, device_of(backend)),
        )
        if old != new
    ]
    return "; ".join(found)


def _compiles(name: str) -> bool:
    try:
        return builder_of(find_backend(name)) is not None
    except SettingsError:
        return False
