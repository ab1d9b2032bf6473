"""rivals: which of several engines runs a bundle's file fastest on this machine, among those that answer rightly.

The target's own engine is the measure. A rival must answer the references as the network did at export, must lose no
more top-1 than the target allows where there are images to judge by, and takes its place only where it is surely
faster: timed in turns in one process, the whole confidence interval of the ratio on its side.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from edgexfer.backends import find_backend, missing_here
from edgexfer.build.candidates import prepare
from edgexfer.core.bundle import Bundle
from edgexfer.core.engine_store import remove_engine
from edgexfer.core.engines import BuiltEngine
from edgexfer.core.errors import BackendError
from edgexfer.core.target import PRECISIONS
from edgexfer.core.threads import Progress
from edgexfer.gate.judge.compare import Comparison, compare
from edgexfer.gate.measure.evaluate import evaluate
from edgexfer.gate.measure.evaluation import Evaluation
from edgexfer.gate.measure.measured import read_measured


@dataclass(frozen=True)
class Rival:
    """One engine that could have taken the place of another.

    Attributes:
        backend: its name.
        engine: name and version of the engine.
        chosen: whether it took the place.
        reason: why, or why not, in one sentence.
        comparison: its latency against that of the engine before it; None where it was not timed.
        engines: what was compiled for it; those of rivals that were not chosen are gone again.
    """

    backend: str
    engine: str
    chosen: bool
    reason: str
    comparison: Comparison | None = None
    engines: tuple[BuiltEngine, ...] = ()

    def to_json(self) -> dict[str, Any]:
        """Returns its part of the record that `build --json` writes."""
        return {
            "backend": self.backend,
            "engine": self.engine,
            "chosen": self.chosen,
            "reason": self.reason,
            "comparison": None if self.comparison is None else self.comparison.to_json(),
        }


def installed(bundle: Bundle) -> list[str]:
    """Returns which of the backends that the target names are on this machine, its own first."""
    return [name for name in (bundle.target.backend, *bundle.target.rivals) if missing_here(name) is None]


def absent(bundle: Bundle) -> list[str]:
    """Returns which of the backends that the target names are not on this machine, with the reason, in sentences."""
    missing = {name: missing_here(name) for name in (bundle.target.backend, *bundle.target.rivals)}
    return [f"{name} was not considered: {reason}" for name, reason in missing.items() if reason is not None]


def challenge(
    bundle: Bundle,
    backends: list[str],
    evaluations: Mapping[str, Evaluation],
    *,
    data: str | Path | None = None,
    partial: bool = False,
    rebuild: bool = False,
    seconds: float,
    threads: int | None = None,
    progress: Progress | None = None,
) -> tuple[Rival, ...]:
    """Lets rivals compete for a bundle, one after the other; the last that was chosen runs it.

    Args:
        bundle: with the candidate chosen that is to run.
        backends: names, all of them on this machine: the one that runs it so far, then its rivals.
        evaluations: what is known of the bundle's candidates, by precision, on the images of `data`.
        data: images that judge the rivals; None for the references alone.
        partial: accept that some of the bundle's classes do not occur in `data`.
        rebuild: compile even where an engine is there that fits.
        seconds: how long to time each pair.
        threads: CPU threads of one inference; None for what `load` takes.
        progress: called with (phases done, all known phases) of what is compiled for a rival.

    Returns:
        One for each rival, in their order; of those that were chosen the last is the best.

    Raises:
        EdgexferError: what `evaluate` and `compare` raise.
    """
    best, *rivals = backends
    found: list[Rival] = []
    for name in rivals:
        engine = find_backend(name).engine_version()
        refused, answers = "", ""
        built: tuple[BuiltEngine, ...] = ()
        try:
            built = prepare(bundle, [bundle.precision], name, rebuild=rebuild, progress=progress).engines
        except BackendError as error:
            refused = error.message
        if data is not None and not refused:
            judged = evaluate(bundle, data, backend=name, partial=partial)
            refused, answers = _judged(bundle, judged, evaluations)
        if refused:
            found.append(Rival(name, engine, chosen=False, reason=f"{engine} was left out: {refused}", engines=built))
            continue
        clock = compare(bundle, bundle, backend=name, against_backend=best, seconds=seconds, threads=threads)
        reason = f"{engine} against {find_backend(best).engine_version()}: {clock.sentence}{answers}"
        found.append(Rival(name, engine, clock.high < 1, reason, clock, built))
        best = name if clock.high < 1 else best
    for rival in found:
        if rival.backend != best:
            for unused in rival.engines:
                remove_engine(unused.folder)
    return tuple(found)


def _judged(bundle: Bundle, judged: Evaluation, evaluations: Mapping[str, Evaluation]) -> tuple[str, str]:
    """Returns why a rival's answers do not hold, "" where they do; and what is to be said of them."""
    same = evaluations[bundle.precision]
    expected = {image.sha256: image.predicted for image in same.images}
    changed = sum(expected[image.sha256] != image.predicted for image in judged.images)
    said = f"; {changed} of {len(judged.images)} images change class"
    drop = _most_precise(bundle, evaluations).top1 - judged.top1
    if not bundle.target.allows(drop):
        limit = bundle.target.max_drop
        return f"it loses {100 * drop:.2f} points of top-1, the limit is {100 * limit:.2f}{said}", ""
    return "", said


def _most_precise(bundle: Bundle, evaluations: Mapping[str, Evaluation]) -> Evaluation:
    # A bundle for a CPU holds one file; what its float network said about these very images is known from the export.
    images = {image.sha256 for image in evaluations[bundle.precision].images}
    known = {
        record.precision: record.evaluation
        for record in read_measured(bundle)
        if {image.sha256 for image in record.evaluation.images} == images
    }
    found = {**known, **evaluations}
    return found[next(name for name in PRECISIONS if name in found)]
