"""`edgexfer baseline`: what later bundles are compared with, accepted by a person and reviewed in git."""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from edgexfer.cli import show
from edgexfer.cli.options import BackendOption, BundleArgument, RecordOption, ThreadsOption, examples
from edgexfer.core.errors import ArtifactError, SettingsError

if TYPE_CHECKING:
    from edgexfer.gate.judge.accept import Proposal
    from edgexfer.gate.judge.baseline import Baseline

_FOLDER = Path("baselines")
app = typer.Typer(
    name="baseline", help="Accept what later bundles are compared with, and look at it.", no_args_is_help=True
)


@app.callback()
def baseline() -> None:
    """Accept what later bundles are compared with, and look at it.

    A baseline is one small JSON file for each bundle, target and kind of machine. It belongs into git: who changes it
    says why, and somebody reviews it. `edgexfer gate` compares with it.
    """


@app.command(
    epilog=examples(
        "edgexfer baseline accept signs.edgx  # the first one",
        "edgexfer baseline accept signs.edgx --data data/signs --why 'smaller head: 1 point for 20 % of the time'",
        "git add baselines && git commit",
    )
)
def accept(
    bundle: BundleArgument,
    data: Annotated[
        Path | None,
        typer.Option(
            "--data", metavar="DATA", help="Images of known class; by default the answers recorded at export."
        ),
    ] = None,
    why: Annotated[
        str, typer.Option("--why", metavar="TEXT", help="Why it changes; needed where there is a baseline already.")
    ] = "",
    baselines: Annotated[
        Path, typer.Option("--baselines", metavar="FOLDER", help="The folder of baselines.")
    ] = _FOLDER,
    by: Annotated[str, typer.Option("--by", metavar="NAME", help="Who accepts it; by default git's user.name.")] = "",
    seconds: Annotated[
        float | None, typer.Option("--seconds", metavar="S", help="How long to measure latency; 20 by default.")
    ] = None,
    images: Annotated[
        Path | None,
        typer.Option(
            "--images",
            metavar="DIR",
            help="Photographs to time with; by default the bundle's own. [cyan]edgexfer gate[/] needs the same.",
        ),
    ] = None,
    threads: ThreadsOption = None,
    backend: BackendOption = None,
    force: Annotated[
        bool, typer.Option("--force", help="Write it although the machine was not fit; the file says so.")
    ] = False,
) -> None:
    """Measure BUNDLE on this machine and write its baseline, after showing what changes.

    Measured are latency (in turns with a fixed reference workload, so that the figures mean something on a slower day),
    accuracy, size, load time, peak memory, and power where the device tells. Do it on the machine that will run the
    gate, or on another of the same kind, while nothing else runs there.

    Where the machine was not fit (busy, throttled, drifting), nothing is written and the exit code is 3.
    """
    from edgexfer.gate.judge import accept as accepting

    show.check_place(str(baselines / "any.json"))
    with show.progress("measuring") as moved:
        proposal = accepting.propose(
            bundle,
            data=data,
            why=why,
            by=by,
            baselines=baselines,
            seconds=accepting.SECONDS if seconds is None else seconds,
            threads=threads,
            images=images,
            backend=backend,
            progress=moved,
        )
    _print_proposal(proposal)
    for text in (*proposal.notes, *proposal.doubts):
        show.warn(text)
    if proposal.doubts and not force:
        show.line("not written: the machine was not fit to be measured; try again when it is quiet, or give --force")
        raise typer.Exit(3)
    place = proposal.write()
    show.line(f"accepted by {proposal.baseline.accepted.by}: {place}", "bold")
    show.line(f"have it reviewed: git add {place}", "dim")


@app.command("show", epilog=examples("edgexfer baseline show", "edgexfer baseline show --json - | jq ."))
def show_baselines(
    place: Annotated[Path, typer.Argument(metavar="[FILE|FOLDER]", help="A baseline, or a folder of them.")] = _FOLDER,
    json_file: RecordOption = None,
) -> None:
    """Print what was accepted, for which target and kind of machine, by whom and why."""
    from edgexfer.gate.judge.baseline import read_baseline

    show.check_place(json_file)
    if not place.exists():
        raise SettingsError(f"{place} does not exist", "accept a baseline with `edgexfer baseline accept BUNDLE`")
    paths = [place] if place.is_file() else sorted(place.rglob("*.json"))
    found: dict[Path, Baseline] = {}
    failed: list[ArtifactError] = []
    for path in paths:
        try:
            found[path] = read_baseline(path)
        except ArtifactError as error:
            failed.append(error)
    if json_file != "-":
        _print_table(place, found)
    if json_file is not None:
        rows = [_row(path, each) for path, each in found.items()]
        show.write_record({"kind": "baselines", "format_version": 1, "baselines": rows}, json_file)
    for refusal in failed:
        show.failed(refusal)
    if failed:
        raise typer.Exit(2)


def _print_proposal(proposal: Proposal) -> None:
    baseline, before = proposal.baseline, proposal.before
    subject = baseline.subject
    show.line(f"{subject.bundle} for {subject.target} ({subject.precision}, {subject.engine})", "bold")
    show.line(f"on {baseline.machine_class}", "dim")
    if before is not None:
        show.line(f"replaces what {_who(before)}", "dim")
    elif proposal.place.exists():
        show.warn(f"{proposal.place} cannot be read and would be replaced")
    headings = ("before", "now", "change") if before is not None else ("now",)
    made = show.table("figure", *headings, right=headings)
    for name, old, new in proposal.changes():
        cells = (_figure(name, old), _figure(name, new), _change(name, old, new)) if before else (_figure(name, new),)
        made.add_row(name, *cells)
    show.console().print(made)


def _print_table(place: Path, found: dict[Path, Baseline]) -> None:
    if not found:
        show.line(f"no baseline in {place}")
        return
    if place.is_file():
        (baseline,) = found.values()
        show.line(f"{baseline.subject.bundle} for {baseline.subject.target}", "bold")
        show.line(f"on {baseline.machine_class}; {_who(baseline)}", "dim")
        show.line(f"bundle {baseline.subject.digest}", "dim")
        made = show.table("figure", "accepted", right=("accepted",))
        for name, value in baseline.figures.items():
            made.add_row(name, _figure(name, value))
        show.console().print(made)
    else:
        made = show.table("bundle", "target", "machine", "p50", "top-1", "accepted", right=("p50", "top-1"))
        for baseline in found.values():
            subject, figures = baseline.subject, baseline.figures
            made.add_row(
                show.cell(subject.bundle),
                show.cell(subject.target),
                show.cell(baseline.machine_class),
                _figure("latency_p50_ms", figures.get("latency_p50_ms")),
                _figure("top1", figures.get("top1")),
                show.cell(_who(baseline)),
            )
        show.console().print(made)
    for path, baseline in found.items():
        for text in baseline.accepted.despite:
            show.warn(f"{path.name} was accepted although {text}")


def _who(baseline: Baseline) -> str:
    accepted = baseline.accepted
    return f"{accepted.by} accepted on {accepted.at[:10]}" + (f": {accepted.why}" if accepted.why else "")


def _row(path: Path, baseline: Baseline) -> dict[str, Any]:
    subject, accepted = baseline.subject, baseline.accepted
    return {
        "file": str(path),
        "bundle": subject.bundle,
        "digest": subject.digest,
        "target": subject.target,
        "machine_class": baseline.machine_class,
        "by": accepted.by,
        "at": accepted.at,
        "why": accepted.why,
        "despite": list(accepted.despite),
        "figures": baseline.figures,
    }


def _figure(name: str, value: float | None) -> str:
    from edgexfer.gate.metrics import METRICS
    from edgexfer.gate.words import NOTHING, value_in_words

    if value is None or name in METRICS:
        return NOTHING if value is None else value_in_words(METRICS[name], value)
    return f"{value:.3g} ms" if name.endswith("_ms") else f"{value:g}"


def _change(name: str, old: float | None, new: float | None) -> str:
    from edgexfer.gate.metrics import METRICS

    if old is None or new is None or not math.isfinite(new - old):
        return ""
    if name in METRICS and METRICS[name].is_fraction:
        return f"{100 * (new - old):+.2f} points"
    return f"{100 * (new / old - 1):+.1f} %" if old else ""
