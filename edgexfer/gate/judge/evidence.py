"""Evidence: what has been measured of a candidate and its reference so far, so that several limits share it.

Nothing is measured before somebody asks for it, and nothing twice.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from functools import cached_property, partial
from pathlib import Path

from edgexfer.core.agreement import TOLERANCE, agreement
from edgexfer.core.bundle import Bundle, open_bundle
from edgexfer.core.errors import SettingsError
from edgexfer.core.threads import cpu_count
from edgexfer.gate.judge.reference import find_reference
from edgexfer.gate.machine.contention import contention, kept_waiting
from edgexfer.gate.machine.device_state import ROOT
from edgexfer.gate.machine.host import host_facts, machine_class
from edgexfer.gate.machine.power import power_source
from edgexfer.gate.measure.evaluate import evaluate
from edgexfer.gate.measure.evaluation import Evaluation
from edgexfer.gate.measure.measured import read_measured
from edgexfer.gate.measure.power import power_in_turns
from edgexfer.gate.measure.process import started_in_turns
from edgexfer.gate.measure.record import subject_of
from edgexfer.gate.measure.timing import encoded_images
from edgexfer.gate.measure.turns import Opener, Turns, bundle_side
from edgexfer.gate.measure.workload import workload
from edgexfer.gate.metrics import Started
from edgexfer.runtime.classifier import load


class Evidence:
    """A candidate, what it is compared with, and every measurement of the two so far.

    Attributes:
        bundle: the candidate.
        subject: what it is, and what runs it here.
        host: facts of this machine from before the first measurement.
        machine_class: of this machine.
        reference: what it is compared with.
        data: images of known class, or None for the answers that were recorded at export.
        waited: how other programs kept "process" and "power" waiting while they were measured, in words, if they did.
    """

    def __init__(
        self,
        bundle: str | Path | Bundle,
        *,
        baseline: str | Path | None = None,
        data: str | Path | None = None,
        threads: int | None = None,
        images: str | Path | None = None,
        backend: str | None = None,
        seed: int = 0,
        progress: Callable[[float, float], None] | None = None,
    ) -> None:
        """Opens the candidate on this machine.

        Args:
            bundle: the candidate.
            baseline: see `find_reference`.
            data: a folder of class folders, or a CSV with path,label.
            threads: CPU threads of one inference; None for what the target says.
            images: a folder with images to measure latency with; None for the bundle's reference pixels as JPEGs.
            backend: the engine; None for the one that `load` takes.
            seed: of all that is drawn.
            progress: called with (done, all): images while a network is asked about `data`, fresh processes, turns in
                which power is read.

        Raises:
            SettingsError: more threads than CPUs.
            EdgexferError: what `open_bundle`, `load` and `find_reference` raise.
        """
        if threads is not None and threads > cpu_count():
            raise SettingsError(
                f"threads is {threads}, but this process may use {cpu_count()} CPUs: they would wait for each other",
                f"give --threads {cpu_count()} or fewer",
            )
        self.bundle = bundle if isinstance(bundle, Bundle) else open_bundle(bundle)
        self.data, self.threads, self._backend, self._seed = data, threads, backend, seed
        self._progress = progress
        self.waited: dict[str, str] = {}
        with load(self.bundle, backend=backend, threads=threads) as classifier:
            # Where engines are built, another candidate than the file's own may be the one that runs here.
            self.bundle, self.subject = classifier.bundle, subject_of(classifier)
            pixels, expected = self.bundle.references()
            self._as_exported = agreement(classifier.probabilities(pixels), expected, TOLERANCE[self.bundle.precision])
        self.files, self.images = encoded_images(self.bundle, images)
        self.host = host_facts(engine=self.subject.engine, threads=threads)
        self.machine_class = machine_class(self.host)
        self.reference = find_reference(baseline, self.bundle, self.machine_class)

    @cached_property
    def answers(self) -> tuple[Evaluation | None, str]:
        """The candidate's answers; where there are none, None and why."""
        return (self._evaluated(self.bundle), "") if self.data is not None else self.recorded_answers

    @cached_property
    def recorded_answers(self) -> tuple[Evaluation | None, str]:
        """The candidate's answers from its export; where there are none to be trusted, None and why."""
        recorded = _recorded(self.bundle, self.bundle.precision)
        if recorded is None:
            return None, "the bundle records no answers from its export: give images with --data"
        if not self._as_exported.holds:
            return None, (
                "the bundle answers its reference images otherwise than at export (probabilities differ by "
                f"{self._as_exported.difference:.3f}): its recorded accuracy means nothing; give images with --data"
            )
        return recorded, ""

    @cached_property
    def float_answers(self) -> tuple[Evaluation | None, str]:
        """The float network's answers, as they were recorded at export; where there are none, None and why."""
        recorded = _recorded(self.bundle, "float32")
        return recorded, "" if recorded else "the bundle records no answers of the float network: export it again"

    @cached_property
    def reference_answers(self) -> tuple[Evaluation | None, str]:
        """The reference's answers; where there are none, None and why."""
        old = self.reference
        if old.missing:
            return None, old.missing
        if old.bundle is not None and self.data is not None:
            everything = self._evaluated(old.bundle, split="all", partial=True)
            return self._fair(everything), ""
        found = _recorded(old.bundle, old.bundle.precision) if old.bundle is not None else None
        found = found or (old.stored.evaluation() if old.stored is not None else None)
        return found, "" if found else f"{old.words} records no answers: give images with --data"

    @cached_property
    def turns(self) -> Turns:
        """The candidate, and the old bundle or the reference workload where there is one, in turns."""
        openers = [self.opener(self.bundle)]
        if self.reference.bundle is not None:
            openers.append(self.opener(self.reference.bundle))
        elif self.reference.stored is not None:
            openers.append(workload)
        return Turns(openers, threads=self.threads, seed=self._seed)

    @cached_property
    def started(self) -> tuple[Sequence[Started], Sequence[Started] | None]:
        """Fresh processes of the candidate and of the reference; None where there is none."""
        old = self.reference
        bundles = [self.bundle] + ([old.bundle] if old.bundle is not None else [])
        with self._watched("process"):
            found = started_in_turns(bundles, backend=self._backend, threads=self.threads, progress=self._progress)
        if old.bundle is not None:
            return found[0], found[1]
        return found[0], old.stored.started() if old.stored is not None else None

    @cached_property
    def power(self) -> tuple[Sequence[float], Sequence[float] | None, str]:
        """Watts of the candidate and of the reference (None where there is none), and why there are none, if so."""
        old = self.reference
        found, why_not = self.watts([self.bundle] + ([old.bundle] if old.bundle is not None else []))
        if why_not:
            return (), None, why_not
        if old.bundle is not None:
            return found[0], found[1], ""
        return found[0], old.stored.power_w if old.stored is not None else None, ""

    def watts(self, bundles: Sequence[Bundle]) -> tuple[list[tuple[float, ...]], str]:
        """Measures bundles in turns; returns each one's watts of each turn, and why there are none, if so."""
        source, why_not = power_source()
        if source is None:
            return [() for _ in bundles], why_not
        with self._watched("power"):
            openers = [self.opener(bundle) for bundle in bundles]
            return power_in_turns(openers, source, threads=self.threads, progress=self._progress), ""

    def opener(self, bundle: Bundle) -> Opener:
        """Returns what opens a bundle to be measured with this evidence's images, engine and threads."""
        return partial(bundle_side, bundle, self.files, backend=self._backend, threads=self.threads)

    @contextmanager
    def _watched(self, of: str) -> Iterator[None]:
        before = contention(ROOT)
        yield
        if reason := kept_waiting(before, contention(ROOT)):
            self.waited[of] = reason

    def _evaluated(self, bundle: Bundle, *, split: str | None = None, partial: bool = False) -> Evaluation:
        return evaluate(
            bundle,
            str(self.data),
            backend=self._backend,
            threads=self.threads,
            split=split,
            partial=partial,
            progress=self._progress,
        )

    def _fair(self, old: Evaluation) -> Evaluation:
        # An image that only the old network was trained on would make the new one look worse than it is.
        candidate, _ = self.answers
        trained = {image.sha256 for image in candidate.images if image.role == "train"} if candidate else set()
        kept = tuple(image for image in old.images if image.role != "train" or image.sha256 in trained)
        return replace(old, images=kept)


def _recorded(bundle: Bundle, precision: str) -> Evaluation | None:
    found = (record for record in read_measured(bundle) if record.precision == precision)
    return next((record.evaluation for record in found), None)
