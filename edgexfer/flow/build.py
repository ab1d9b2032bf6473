"""build: on the device, a bundle becomes engines that run there, and the best of them is what `load` opens.

Every candidate is built, held to the references, judged and timed in turns; the fastest that holds the target's
limit is kept. Then other engines that can run the same file compete for it (flow/rivals.py). Without images the
accuracy is that which export found, by the engine or simulated.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from edgexfer.backends import device_of, find_backend
from edgexfer.build.candidates import Candidates, prepare
from edgexfer.core.bundle import Bundle, open_bundle
from edgexfer.core.engine_choice import EngineChoice, write_choice
from edgexfer.core.engines import BuiltEngine
from edgexfer.core.errors import DataError
from edgexfer.core.threads import Progress
from edgexfer.flow.choose import Choice, choose
from edgexfer.flow.rivals import Rival, absent, challenge, installed
from edgexfer.gate.measure.evaluate import evaluate
from edgexfer.gate.measure.evaluation import Evaluation
from edgexfer.gate.measure.measured import Measured, read_measured
from edgexfer.runtime.chosen import chosen_here
from edgexfer.runtime.open_here import backend_for

FORMAT_VERSION = 2
BENCH_SECONDS = 6.0
_ELSEWHERE = "build on the device itself, or from here: edgexfer export RUN --on USER@HOST"


@dataclass(frozen=True)
class Built:
    """What `build` made of a bundle on this machine.

    Attributes:
        bundle: with the candidate chosen that `load` opens here from now on.
        backend: name of the backend that `load` opens it with here.
        engine: name and version of its inference engine.
        device: what it was chosen on; empty where there was nothing to choose: one file and one engine.
        engines: those that are there now.
        measured: every candidate that was judged, the most precise first.
        decision: why this precision and this engine, in one sentence.
        warnings: what a user must know before shipping, in sentences.
        rivals: the other engines that could run the file, each with what came of it.
    """

    bundle: Bundle
    backend: str
    engine: str
    device: str
    engines: tuple[BuiltEngine, ...]
    measured: tuple[Measured, ...]
    decision: str
    warnings: tuple[str, ...] = ()
    rivals: tuple[Rival, ...] = ()

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
            "rivals": [rival.to_json() for rival in self.rivals],
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
    threads: int | None = None,
    progress: Progress | None = None,
) -> Built:
    """Builds a bundle's engines on this machine, measures them and their rivals, and keeps the choice in the bundle.

    Args:
        folder: the bundle.
        data: images to judge by; None for the accuracy that the bundle brings along from its export.
        partial: accept that some of the bundle's classes do not occur in `data`.
        precision: build and choose this candidate alone; None for what the target asks, "auto" for the fastest.
        rebuild: build even where engines are there that fit.
        if_needed: where a choice was made on this machine before, among all engines that are here now, keep it, and
            build its engine only where it is gone.
        seconds: how long each pair of candidates or engines is timed.
        threads: CPU threads of one inference while engines are timed; None for what `load` takes. Candidates of one
            engine are timed on one thread.
        progress: called with (phases done, all known phases) of the engine that is being built.

    Raises:
        ArtifactError: not a bundle, damaged or tampered with; or an engine in it is.
        MissingPartError: the engine is not installed here.
        BackendError: no candidate can be built, or none answers as it did at export.
        SettingsError: the bundle has no such candidate.
        EdgexferError: the machine is not what the target asks for, or the bundle's folder cannot be written.
    """
    bundle = open_bundle(folder)
    here = installed(bundle)
    backend_for(bundle, here[0] if here else None, otherwise=_ELSEWHERE)
    first = here[0]
    considered = tuple(find_backend(name).engine_version() for name in here)
    if if_needed:
        before = chosen_here(bundle)
        if before is not None and set(considered) <= set(before.considered):
            return _as_before(bundle, before, progress)
    wanted = precision or bundle.target.precision
    names = list(bundle.candidates) if wanted == "auto" else [bundle.at(wanted).precision]
    candidates = prepare(bundle, names, first, rebuild=rebuild, progress=progress)
    evaluations, warnings = _evaluations(bundle, candidates, first, data, partial)
    if evaluations:
        choice = choose(bundle, evaluations, wanted=wanted, backend=first, seconds=seconds)
    else:
        choice = _unmeasured(bundle, candidates)
    if len(bundle.candidates) == 1:
        choice = dataclasses.replace(choice, decision=f"{choice.precision} is all that this bundle holds")
    best = bundle.at(choice.precision)
    rivals = challenge(
        best,
        here,
        evaluations,
        data=data,
        partial=partial,
        rebuild=rebuild,
        seconds=seconds,
        threads=threads,
        progress=progress,
    )
    winner = next((rival for rival in reversed(rivals) if rival.chosen), None)
    backend = first if winner is None else winner.backend
    engine = find_backend(backend).engine_version()
    engines = candidates.engines + (() if winner is None else winner.engines)
    decision = "; ".join((choice.decision, *(rival.reason for rival in rivals), *absent(bundle)))
    device = ""
    if bundle.target.rivals or engines:
        device = device_of(find_backend(backend))
        write_choice(best, EngineChoice(best.precision, backend, engine, device, considered), reason=decision)
    refused = tuple(f"{name} was left out: {reason}" for name, reason in candidates.refused.items())
    return Built(
        best,
        backend,
        engine,
        device,
        engines,
        choice.measured,
        decision,
        (*warnings, *choice.warnings, *refused),
        rivals,
    )


def _as_before(bundle: Bundle, choice: EngineChoice, progress: Progress | None) -> Built:
    candidates = prepare(bundle, [choice.precision], choice.backend, progress=progress)
    return Built(
        bundle.at(choice.precision),
        choice.backend,
        choice.engine,
        choice.device,
        candidates.engines,
        (),
        f"{choice.precision} was chosen on this machine before, with {choice.engine}; measure anew with "
        "`edgexfer build` alone",
    )


def _evaluations(
    bundle: Bundle, candidates: Candidates, backend: str, data: str | Path | None, partial: bool
) -> tuple[dict[str, Evaluation], list[str]]:
    """Returns what is known of each candidate's accuracy, all on the same images, and what must be said of it."""
    if data is not None:
        found = {name: evaluate(bundle.at(name), data, backend=backend, partial=partial) for name in candidates.ready}
        return found, list(next(iter(found.values())).warnings)
    known = {record.precision: record.evaluation for record in read_measured(bundle)}
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
