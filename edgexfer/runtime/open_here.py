"""Opening a bundle with an engine of this machine, for `load` and for `swap`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from edgexfer.backends import Backend, find_backend, missing_here
from edgexfer.core.bundle import Bundle, open_bundle
from edgexfer.core.errors import MissingPartError, SettingsError
from edgexfer.runtime.chosen import chosen_here
from edgexfer.runtime.opened import Opened, Watcher
from edgexfer.runtime.watchdog import TimedSession

if TYPE_CHECKING:
    from edgexfer.trust.public_keys import Trust

_SIMULATE = 'simulate it on the CPU: load(bundle, backend="ort"), or --backend ort on the command line'


def open_here(
    bundle: str | Path | Bundle,
    *,
    backend: str | None,
    threads: int | None,
    timeout_s: float | None,
    watch: Watcher | None,
    trust: Trust | None,
) -> Opened:
    """Opens a bundle and runs it once; the arguments are those of `load`.

    With `trust`, that it was opened is remembered when its `accept` is called, and not before: what does not run here
    or answers wrongly leaves the way back to what did.
    """
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
    opened.unread.clear()  # who runs an engine never asks for it
    try:
        preprocess = opened.preprocess
        session.run(np.zeros((1, preprocess.height, preprocess.width, 3), np.uint8))
    except BaseException:
        session.close()
        raise
    if timeout_s is not None:
        session = TimedSession(session, timeout_s)
    accept = None if signed is None else signed.accept
    return Opened(opened, session, backend or opened.target.backend, watch, accept)


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
