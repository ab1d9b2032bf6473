"""`edgexfer gate`: may this bundle be shipped? In CI: a table, an exit code, and files for machines."""

from __future__ import annotations

from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.text import Text

from edgexfer.cli import show
from edgexfer.cli.options import BackendOption, BundleArgument, RecordOption, ThreadsOption
from edgexfer.core.files import write_file

if TYPE_CHECKING:
    from edgexfer.gate.judge.verdict import GateResult, Outcome

_STYLES: dict[Outcome, str] = {"pass": "green", "fail": "bold red", "inconclusive": "yellow"}
_FLIPS = 10


def _print_metrics(wanted: bool) -> None:
    if not wanted:
        return
    from edgexfer.gate.metrics import METRICS

    made = show.table("metric", "unit", "better", "what it is")
    for metric in METRICS.values():
        made.add_row(metric.name, metric.unit or "fraction", metric.better, metric.meaning)
    show.console().print(made)
    show.line("kinds of limits: max, min; max_drop against the float network; max_regress against the baseline", "dim")
    raise typer.Exit


def gate(
    bundle: BundleArgument,
    baseline: Annotated[
        Path | None,
        typer.Option(
            "--baseline",
            metavar="PATH",
            help="What to compare with: an older bundle (surest), a baseline's file, or a folder of them; "
            "by default [cyan]baselines/[/] where it is.",
        ),
    ] = None,
    data: Annotated[
        Path | None,
        typer.Option(
            "--data", metavar="DATA", help="Images of known class; by default the answers recorded at export."
        ),
    ] = None,
    settings: Annotated[
        list[str] | None,
        typer.Option(
            "--set",
            metavar="METRIC.KIND=VALUE",
            help="A limit, such as [cyan]latency_p95_ms.max=12[/], [cyan]latency_p50_ms.max_regress=5%[/], "
            "[cyan]recall:stop.min=0.9[/]; [cyan]off[/] takes one away. Give it again for more.",
        ),
    ] = None,
    seconds: Annotated[
        float | None, typer.Option("--seconds", metavar="S", help="How long to measure latency at most; 45 by default.")
    ] = None,
    images: Annotated[
        Path | None,
        typer.Option("--images", metavar="DIR", help="Photographs to time with; by default the bundle's own."),
    ] = None,
    threads: ThreadsOption = None,
    backend: BackendOption = None,
    json_file: RecordOption = None,
    junit: Annotated[
        Path | None, typer.Option("--junit", metavar="FILE", help="Write JUnit XML there, for CI to show.")
    ] = None,
    markdown: Annotated[
        Path | None,
        typer.Option("--markdown", metavar="FILE", help="Append a summary there, such as to GITHUB_STEP_SUMMARY."),
    ] = None,
    annotations: Annotated[
        bool,
        typer.Option(
            "--annotations",
            help="Print GitHub annotations, one for each verdict that is no pass; "
            "on standard error with [cyan]--json -[/].",
        ),
    ] = False,
    report: Annotated[
        Path | None,
        typer.Option(
            "--report",
            metavar="FILE.html",
            help="Write the bundle's report with the verdicts; "
            "where it lies is told on standard error with [cyan]--json -[/].",
        ),
    ] = None,
    metrics: Annotated[  # noqa: ARG001 - its callback acts
        bool, typer.Option("--metrics", is_eager=True, callback=_print_metrics, help="List what can have a limit.")
    ] = False,
) -> None:
    """Hold BUNDLE to its limits: those of its target, the standard ones, and --set.

    Latency is measured in turns with the baseline until the confidence interval decides; accuracy is compared image
    by image. What noise, another machine or a missing baseline leaves open is inconclusive, never a pass.

    Exit code: 0 all passed, 1 one failed, 2 a mistake in the call, 3 inconclusive.
    """
    from edgexfer.gate.judge.judge import SECONDS, judge

    for place in (json_file, junit, markdown, report):
        show.check_place(None if place is None else str(place))
    with nullcontext() if json_file == "-" else show.progress("judging") as moved:
        result = judge(
            bundle,
            baseline=baseline,
            data=data,
            settings=settings or (),
            seconds=SECONDS if seconds is None else seconds,
            threads=threads,
            images=images,
            backend=backend,
            progress=moved,
        )
    if json_file != "-":
        print_gate(result)
    if json_file is not None:
        show.write_record(result.to_json(), json_file)
    # Standard output is then the record and nothing else; GitHub reads annotations from either.
    told_aside = json_file == "-"
    _write_files(result, bundle, data, junit=junit, markdown=markdown, report=report, told_aside=told_aside)
    if annotations:
        from edgexfer.gate.output.annotations import annotation_lines

        typer.echo(annotation_lines(result), nl=False, err=told_aside)
    raise typer.Exit(result.exit_code)


def _write_files(
    result: GateResult,
    bundle: Path,
    data: Path | None,
    *,
    junit: Path | None,
    markdown: Path | None,
    report: Path | None,
    told_aside: bool,
) -> None:
    from edgexfer.gate.output.junit import junit_xml
    from edgexfer.gate.output.markdown import markdown_summary

    if junit is not None:
        write_file(junit, junit_xml(result))
    if markdown is not None:
        before = markdown.read_bytes() if markdown.is_file() else b""  # whatever its encoding
        write_file(markdown, before + markdown_summary(result).encode())
    if report is not None:
        from edgexfer.gate.report.page import report as write_report

        show.line(f"report: {write_report(bundle, report, data=data, gate=result)}", stderr=told_aside)


def print_gate(result: GateResult) -> None:
    """Prints the verdicts as a table, what they stand on, the flipped images, and the outcome."""
    from edgexfer.gate.words import allowed_in_words, change_in_words, told, value_in_words

    subject = result.subject
    # No line begins with what others named: "::stop-commands::x" is an order to GitHub.
    show.line(f"bundle {subject.bundle} ({subject.precision}, {subject.engine}) for {subject.target}", "bold")
    show.line(f"on {result.machine_class}", "dim")
    show.line(f"against {result.baseline or 'nothing'}", "dim")
    if result.data:
        show.line(f"accuracy of {result.data}", "dim")
    made = show.table("limit", "value", "reference", "change", "allowed", "verdict", right=("value", "reference"))
    for verdict in result.verdicts:
        metric = verdict.limit.of
        made.add_row(
            show.cell(verdict.limit.key),
            value_in_words(metric, verdict.value),
            value_in_words(metric, verdict.reference),
            change_in_words(verdict),
            show.cell(allowed_in_words(verdict.limit)),
            Text(verdict.outcome, _STYLES[verdict.outcome]),
        )
    show.unfolded(made)
    for outcome, keys, reason in told(result.verdicts):
        show.line(f"{keys} {outcome}: {reason}", "dim" if outcome == "pass" else _STYLES[outcome])
    lost_first = sorted(result.flips, key=lambda flip: (flip.kind != "lost", flip.path))
    for flip in lost_first[:_FLIPS]:
        show.line(f"{flip.kind}: {flip.path} is {flip.label}: {flip.before} before, {flip.after} now", "dim")
    if len(lost_first) > _FLIPS:
        show.line(f"and {len(lost_first) - _FLIPS} more images answered otherwise; --json lists all", "dim")
    for text in result.warnings:
        show.warn(text)
    counts = ", ".join(f"{count} {name}" for name, count in result.counted().items() if count)
    show.line(f"{result.outcome}: {counts or 'nothing was judged'}, in {result.seconds:.0f} s", _STYLES[result.outcome])
