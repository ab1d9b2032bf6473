"""Accept: a bundle in, the baseline that later ones are compared with out; written only where somebody says so.

`propose` measures and says what would change, `Proposal.write` writes. What a machine that was not fit has measured is
not written, unless it is forced; the file then says what spoke against it.
"""

from __future__ import annotations

import shutil
import subprocess
from dataclasses import dataclass, replace
from datetime import datetime, timezone
from pathlib import Path

from edgexfer.core.bundle import Bundle
from edgexfer.core.errors import ArtifactError, SettingsError
from edgexfer.gate.judge.baseline import Accepted, Baseline, baseline_place, read_baseline, write_baseline
from edgexfer.gate.judge.baseline_record import pack_answers, pack_calls
from edgexfer.gate.judge.evidence import Evidence
from edgexfer.gate.judge.figures import figures_of
from edgexfer.gate.judge.packed import pack
from edgexfer.gate.judge.reference import FOLDER, name_of
from edgexfer.gate.judge.stability import unsteady
from edgexfer.gate.judge.turn_by_turn import LEAST_BLOCKS
from edgexfer.gate.judge.unfit import unfit_here
from edgexfer.gate.machine.contention import contended, contention
from edgexfer.gate.machine.device_state import ROOT, device_state
from edgexfer.gate.measure.process import started_in_turns
from edgexfer.gate.measure.timing import Progress, check_seconds
from edgexfer.gate.measure.turns import ROUND_SECONDS, Blocks, Turns
from edgexfer.gate.measure.workload import WORKLOAD, workload

SECONDS = 20.0
_HOST_FACTS = ("cpu", "board", "isa", "kernel", "os", "l4t", "power_mode", "governor", "engine", "python", "numpy")


@dataclass(frozen=True)
class Proposal:
    """A baseline that was measured and is not written yet.

    Attributes:
        baseline: what would be written.
        place: where.
        before: what lies there now; None where nothing does, or nothing that can be read.
        doubts: why the machine was not fit to be measured, in sentences; empty where it was.
        notes: what the baseline lacks, in sentences.
    """

    baseline: Baseline
    place: Path
    before: Baseline | None = None
    doubts: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()

    def changes(self) -> list[tuple[str, float | None, float | None]]:
        """Returns (figure, as it was accepted before, as it is now), in the order of the file."""
        old = self.before.figures if self.before is not None else {}
        return [(name, old.get(name), value) for name, value in self.baseline.figures.items()]

    def write(self) -> Path:
        """Writes the file, whole or not at all, and returns its path.

        Raises:
            EdgexferError: it cannot be written.
        """
        write_baseline(self.baseline, self.place)
        return self.place


def propose(
    bundle: str | Path | Bundle,
    *,
    data: str | Path | None = None,
    why: str = "",
    by: str = "",
    baselines: str | Path = FOLDER,
    seconds: float = SECONDS,
    threads: int | None = None,
    images: str | Path | None = None,
    backend: str | None = None,
    progress: Progress | None = None,
) -> Proposal:
    """Measures a bundle for its baseline on this machine.

    Args:
        bundle: its folder, or one that is open.
        data: images of known class; None for the answers that were recorded at export.
        why: why it is accepted; needed where a baseline for its target and this machine class is there already.
        by: who accepts it; "" for git's user.name.
        baselines: the folder of baselines.
        seconds: how long latency is measured, more than 0; at least 24 turns are taken.
        threads: CPU threads of one inference; None for what the target says.
        images: a folder with images to measure latency with; None for the bundle's reference pixels as JPEGs.
        backend: the engine; None for the one that `load` takes.
        progress: called with (done, all): images, seconds of measuring, processes, then turns in which power is read.

    Raises:
        SettingsError: seconds out of range, nobody who accepts it, or no reason where one is needed.
        EdgexferError: what opening, evaluating and starting the bundle raise.
    """
    check_seconds(seconds)
    who = by.strip() or git_user()
    if not who:
        raise SettingsError("nobody is named who accepts the baseline: git has no user.name", "give --by NAME")
    # Compared with itself: no other baseline is looked for, and a damaged one does not stand in the way.
    folder = bundle.folder if isinstance(bundle, Bundle) else bundle
    seen = Evidence(
        bundle, baseline=folder, data=data, threads=threads, images=images, backend=backend, progress=progress
    )
    name, target = name_of(seen.bundle), seen.bundle.target
    place = baseline_place(Path(baselines), name, target.name, seen.machine_class)
    if place.exists() and not why.strip():
        raise SettingsError(f"{place} is there already: say why it changes", 'give --why "what became better or worse"')
    before = _before(place)
    evaluation, missing = seen.answers
    # Who else had the CPUs counts from here on: reading the images kept them busy as well.
    host = {**seen.host, "contention": contention(ROOT)}
    calls, ticks, steady = _measured(seen, seconds, progress)
    (started,) = started_in_turns([seen.bundle], backend=backend, threads=threads, progress=progress)
    (watts,), _ = seen.watts([seen.bundle])
    after = device_state()
    # A load from before it began is no reason: what still runs is seen in the samples, and in who waited for a CPU.
    crowded = contended(host["contention"], after["contention"])
    doubts = dict.fromkeys([*unsteady((calls, ticks), host, after, target), *crowded])
    if not steady:
        doubts["the times were still changing after the warm-up"] = None
    if reason := unfit_here(seen):
        doubts[reason] = None
    baseline = Baseline(
        subject=seen.subject,
        machine_class=seen.machine_class,
        accepted=Accepted(who, datetime.now(timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ"), why.strip(), tuple(doubts)),
        figures={},
        labels=seen.bundle.labels,
        threads=threads,
        images=seen.images,
        data="" if evaluation is None else evaluation.data,
        workload_name=WORKLOAD,
        host={"machine_class": seen.machine_class, **{key: seen.host.get(key) for key in _HOST_FACTS}},
        load_ms=tuple(round(one.load_ms, 3) for one in started),
        peak_memory_mib=tuple(round(one.peak_memory_mib, 3) for one in started),
        power_w=tuple(round(each, 4) for each in watts),
        packed_calls=pack_calls(calls),
        packed_workload=pack(ticks["total"]),
        packed_answers=None if evaluation is None else pack_answers(evaluation),
    )
    # Of what the file keeps, which is rounded: so who reads it finds the same figures.
    raw = (baseline.calls(), baseline.workload(), baseline.evaluation(), baseline.started(), baseline.power_w)
    baseline = replace(baseline, figures=figures_of(*raw, bundle=seen.bundle))
    return Proposal(baseline, place, before, tuple(doubts), (missing,) if missing else ())


def git_user() -> str:
    """Returns git's user.name, as it stands for the current folder; "" where there is none."""
    program = shutil.which("git")
    if program is None:
        return ""
    try:
        done = subprocess.run(  # noqa: S603 - the user's own git
            [program, "config", "user.name"], capture_output=True, timeout=10, check=False
        )
    except (OSError, subprocess.SubprocessError):
        return ""
    return " ".join(done.stdout.decode("utf-8", "replace").split())


def _measured(seen: Evidence, seconds: float, progress: Progress | None) -> tuple[Blocks, Blocks, bool]:
    # The bundle and the workload, in turns; and whether both had settled before they were counted.
    turns = Turns([seen.opener(seen.bundle), workload], threads=seen.threads)
    while True:
        turns.more(min(ROUND_SECONDS, seconds))
        if progress is not None:
            progress(min(turns.seconds, seconds), seconds)
        calls, ticks = turns.sides
        if turns.seconds >= seconds and len(calls["total"]) >= LEAST_BLOCKS:
            return calls, ticks, turns.steady


def _before(place: Path) -> Baseline | None:
    try:
        return read_baseline(place) if place.exists() else None
    except ArtifactError:
        return None
