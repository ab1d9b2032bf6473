"""Candidates of a bundle on the machine that will run it: built where the engine wants that, and held to references.

`reference.npz` says what the network answered when it was exported. An engine that answers otherwise was built
wrong, whatever its speed, and is refused with the figure.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from edgexfer.backends import builder_of, find_backend
from edgexfer.core.agreement import TOLERANCE, agreement
from edgexfer.core.bundle import Bundle
from edgexfer.core.engines import BuiltEngine
from edgexfer.core.errors import BackendError
from edgexfer.core.threads import Progress
from edgexfer.runtime.classifier import load


@dataclass(frozen=True)
class Candidates:
    """What this machine can run.

    Attributes:
        engines: those that were built or found, in the order of the precisions; empty where nothing is compiled.
        ready: the precisions that answer as the exported network did.
        refused: the others, each with the reason in one sentence.
    """

    engines: tuple[BuiltEngine, ...]
    ready: tuple[str, ...]
    refused: dict[str, str]


def prepare(
    bundle: Bundle,
    precisions: Sequence[str],
    backend: str,
    *,
    rebuild: bool = False,
    progress: Progress | None = None,
) -> Candidates:
    """Builds the engines of some candidates and compares each one's answers with the references.

    Args:
        bundle: any.
        precisions: which candidates; one that fails does not stop the others.
        backend: name of the one that runs them, which is here; where it compiles engines they are built.
        rebuild: build even where an engine is there that fits.
        progress: called with (phases done, all known phases) of the engine that is being built.

    Raises:
        EdgexferError: none of them can run here; the first one's reason.
    """
    engines, ready, refused = [], [], {}
    builder = builder_of(find_backend(backend))
    first: BackendError | None = None
    for precision in precisions:
        candidate = bundle.at(precision)
        try:
            if builder is not None:
                engines.append(builder.build_engine(candidate, rebuild=rebuild, progress=progress))
            check_references(candidate, backend)
        except BackendError as error:
            # Its frames would keep a builder and its memory alive while the others are built.
            first = first or BackendError(error.message, error.hint)
            refused[precision] = error.message
        else:
            ready.append(precision)
    if first is not None and not ready:
        raise first
    return Candidates(tuple(engines), tuple(ready), refused)


def check_references(bundle: Bundle, backend: str) -> None:
    """Compares this machine's answers to the reference images, given by the backend of that name, with those at export.

    Raises:
        BackendError: farther than TOLERANCE, or another class where the exported network was sure.
    """
    pixels, expected = bundle.references()
    with load(bundle, backend=backend) as classifier:
        found = classifier.probabilities(pixels)
    seen = agreement(found, expected, TOLERANCE[bundle.precision])
    if not seen.holds:
        raise BackendError(
            f"{bundle.precision} {seen.in_words(len(pixels))}",
            "build it again with `edgexfer build BUNDLE --rebuild`; if it stays so, report it with the backbone's name",
        )
