"""build: on the device, a bundle becomes engines that run there, and the best of them is what `load` opens.

Every candidate is built, held to the references, judged and timed in turns; the fastest that holds the target's
limit is kept. Without images the accuracy is that which export found, by the engine or simulated.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from edgexfer.backends import EngineBuilder, builder_of
from edgexfer.build.candidates import Candidates, prepare
from edgexfer.core.bundle import Bundle, open_bundle
from edgexfer.core.engine_choice import read_choice, write_choice
from edgexfer.core.engines import BuiltEngine
from edgexfer.core.errors import DataError
from edgexfer.core.threads import Progress
from edgexfer.flow.choose import Choice, choose
from edgexfer.gate.measure.evaluate import evaluate
from edgexfer.gate.measure.evaluation import Evaluation
from edgexfer.gate.measure.measured import Measured, read_measured
from edgexfer.runtime.classifier import backend_for

FORMAT_VERSION = 1
BENCH_SECONDS = 6.0
_ELSEWHERE = "build on the device itself, or from here: edgexfer export RUN --target NAME --on USER@HOST"


@dataclass(frozen=True)
class Built:
    """What `build` made of a bundle on this machine.

    Attributes:
        bundle: with the candidate chosen that `load` opens here from now on.
        backend: name of the backend.
        engine: name and version of the inference engine.
        device: what the engines were built for; empty where nothing is compiled.
        engines: those that are there now.
        measured: every candidate that was judged, the most precise first.
        decision: one sentence.
        warnings: what a user must know before shipping, in sentences.
    """

    bundle: Bundle
    backend: str
    engine: str
    device: str
    engines: tuple[BuiltEngine, ...]
    measured: tuple[Measured, ...]
    decision: str
    warnings: tuple[str, ...] = ()

    def to_json(self) -> dict[str, Any]:
        """Returns the record that `build --json` writes."""
        return {
            "kind": "build",
            "format_version": FORMAT_VERSION,
            "bundle": str(self.bundle.manifest["name"]),
            "digest": self.bundle.digest,
            "precision": self.bundle.precision,
            "backend": self.backend,
            "engine": self.engine,
            "device": self.device,
            "decision": self.decision,
            "warnings": list(self.warnings),
            "engines": [{**dataclasses.asdict(built), "folder": built.folder.name} for built in self.engines],
            "records": [record.to_json() for record in self.measured],
        }


def build(
    folder: str | Path,
    *,
    data: str | Path | None = None,
    partial: bool = False,
    precision: str | None = None,
    rebuild: bool = False,
    if_needed: bool = False,
    seconds: float = BENCH_SECONDS,
    progress: Progress | None = None,
) -> Built:
    """Builds a bundle's engines on this machine, measures them, and keeps the choice in the bundle.

    Args:
        folder: the bundle.
        data: images to judge by; None for the accuracy that the bundle brings along from its export.
        partial: accept that some of the bundle's classes do not occur in `data`.
        precision: build and choose this candidate alone; None for what the target asks, "auto" for the fastest.
        rebuild: build even where engines are there that fit.
        if_needed: where a choice was made on this machine before, keep it, and build its engine only where it is gone.
        seconds: how long each pair of candidates is timed.
        progress: called with (phases done, all known phases) of the engine that is being built.

    Raises:
        ArtifactError: not a bundle, damaged or tampered with; or an engine in it is.
        MissingPartError: the engine is not installed here.
        BackendError: no candidate can be built, or none answers as it did at export.
        SettingsError: the bundle has no such candidate.
        EdgexferError: the machine is not what the target asks for, or the bundle's folder cannot be written.
    """
    bundle = open_bundle(folder)
    backend = backend_for(
        bundle, otherwise="build on the device itself, or from here: edgexfer export RUN --on USER@HOST"
    )
    builder = builder_of(backend)
    if if_needed and builder is not None:
        chosen = read_choice(bundle, engine=backend.engine_version(), device=builder.device())
        if chosen is not None:
            return _as_before(bundle, chosen, builder, progress)
    wanted = precision or bundle.target.precision
    names = list(bundle.candidates) if wanted == "auto" else [bundle.at(wanted).precision]
    candidates = prepare(bundle, names, builder, rebuild=rebuild, progress=progress)
    evaluations, warnings = _evaluations(bundle, candidates, data, partial)
    if evaluations:
        choice = choose(bundle, evaluations, wanted=wanted, backend=bundle.target.backend, seconds=seconds)
    else:
        choice = _unmeasured(bundle, candidates)
    if len(bundle.candidates) == 1:
        choice = dataclasses.replace(choice, decision=f"{choice.precision} is all that this bundle holds")
    best = choice.precision
    device = "" if builder is None else builder.device()
    if builder is not None:
        write_choice(bundle, best, engine=backend.engine_version(), device=device, reason=choice.decision)
    refused = tuple(f"{name} was left out: {reason}" for name, reason in candidates.refused.items())
    return Built(
        bundle.at(best),
        bundle.target.backend,
        backend.engine_version(),
        device,
        candidates.engines,
        choice.measured,
        choice.decision,
        (*warnings, *choice.warnings, *refused),
    )


def _as_before(bundle: Bundle, chosen: str, builder: EngineBuilder, progress: Progress | None) -> Built:
    candidates = prepare(bundle, [chosen], builder, progress=progress)
    return Built(
        bundle.at(chosen),
        bundle.target.backend,
        builder.engine_version(),
        builder.device(),
        candidates.engines,
        (),
        f"{chosen} was chosen on this machine before; measure anew with `edgexfer build` alone",
    )


def _evaluations(
    bundle: Bundle, candidates: Candidates, data: str | Path | None, partial: bool
) -> tuple[dict[str, Evaluation], list[str]]:
    """Returns what is known of each candidate's accuracy, all on the same images, and what must be said of it."""
    if data is not None:
        found = {name: evaluate(bundle.at(name), data, partial=partial) for name in candidates.ready}
        return found, list(next(iter(found.values())).warnings)
    known = {record.precision: record.evaluation for record in read_measured(bundle.folder)}
    found = {name: known[name] for name in candidates.ready if name in known}
    if len({tuple(image.sha256 for image in evaluation.images) for evaluation in found.values()}) > 1:
        raise DataError(
            f"{bundle.folder}: its candidates were judged by different images", "judge them anew: give --data DATA"
        )
    warnings = [
        f"nothing is known of the accuracy of {name}, so it was not considered: give --data DATA"
        for name in candidates.ready
        if name not in found and found
    ]
    if any(evaluation.subject.simulated for evaluation in found.values()):
        warnings.append("accuracy is that of the simulation at export: give --data DATA to measure it on this machine")
    return found, warnings


def _unmeasured(bundle: Bundle, candidates: Candidates) -> Choice:
    shipped = str(bundle.manifest["precision"])
    best = shipped if shipped in candidates.ready else candidates.ready[0]
    note = "nothing is known of its accuracy here: give --data DATA"
    return Choice(best, (), f"{best} it is, as export chose", (note,))
