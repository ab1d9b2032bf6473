"""`edgexfer bench`: how long does one image take on this machine?"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from edgexfer.cli import show
from edgexfer.cli.devices import print_benches
from edgexfer.cli.options import BackendOption, BundleArgument, OnOption, RecordOption
from edgexfer.cli.surface import numbers, print_surface
from edgexfer.cli.training import going_on_with, log_lines
from edgexfer.core.errors import SettingsError

if TYPE_CHECKING:
    from edgexfer.gate.judge.compare import Comparison
    from edgexfer.gate.measure.latency import Latency

_PROCESSES = 3  # a figure for people: a limit is judged by more of them


def bench(
    bundle: BundleArgument,
    against: Annotated[
        Path | None, typer.Option("--against", metavar="BUNDLE", help="Measure another bundle in turns with it.")
    ] = None,
    threads: Annotated[
        str | None,
        typer.Option("--threads", metavar="N[,N]", help="CPU threads of one inference; by default the target's."),
    ] = None,
    batch: Annotated[
        str | None,
        typer.Option("--batch", metavar="N[,N]", help="Images per call, for the table of threads and batches."),
    ] = None,
    seconds: Annotated[
        float | None,
        typer.Option("--seconds", metavar="S", help="How long to measure; 5, 10 with --against, 20 for a table."),
    ] = None,
    images: Annotated[
        Path | None,
        typer.Option("--images", metavar="DIR", help="Photographs to measure with; by default the bundle's own."),
    ] = None,
    json_file: RecordOption = None,
    backend: BackendOption = None,
    on: OnOption = None,
) -> None:
    """Measure how long one image takes on this machine, or on devices.

    Timed are decode, resize, inference, and all of it together; shown are percentiles of the single calls. Fresh
    processes tell how long loading takes and how much memory it needs.

    With --against both bundles take turns in one process, and the ratio comes with its confidence interval.

    With several --threads, or with --batch, a table shows how latency and throughput change with them.
    """
    show.check_place(json_file)
    counts, batches = numbers("--threads", threads), numbers("--batch", batch)
    if len(counts) > 1 or batches:
        for name, given in (("--against", against), ("--on", on)):
            if given:
                raise SettingsError(
                    f"{name} and a table of threads and batches do not go together",
                    f"leave {name} out, or give one number of --threads and no --batch",
                )
        print_surface(bundle, counts, batches, seconds, images, json_file, backend)
        return
    _one(bundle, against, counts[0] if counts else None, seconds, images, json_file, backend, on)


def _one(
    bundle: Path,
    against: Path | None,
    threads: int | None,
    seconds: float | None,
    images: Path | None,
    json_file: str | None,
    backend: str | None,
    on: list[str] | None,
) -> None:
    if on:
        _on_devices(on, bundle, against, threads, seconds, images, json_file, backend)
        return
    with show.progress("measuring") as moved:
        result: Latency | Comparison
        if against is None:
            from edgexfer.gate.measure import bench as alone

            result = alone.bench(
                bundle,
                threads=threads,
                seconds=alone.SECONDS if seconds is None else seconds,
                images=images,
                backend=backend,
                processes=_PROCESSES,
                progress=moved,
            )
        else:
            from edgexfer.gate.judge import compare as both

            result = both.compare(
                bundle,
                against,
                threads=threads,
                seconds=both.SECONDS if seconds is None else seconds,
                images=images,
                backend=backend,
                progress=moved,
            )
    if json_file != "-":
        _print(result)
    if json_file is not None:
        show.write_record(result.to_json(), json_file)


def _on_devices(
    hosts: list[str],
    bundle: Path,
    against: Path | None,
    threads: int | None,
    seconds: float | None,
    images: Path | None,
    json_file: str | None,
    backend: str | None,
) -> None:
    from edgexfer.core.bundle import open_bundle
    from edgexfer.flow.on import bench_on, to_json

    if images is not None:
        raise SettingsError("--images and --on do not go together", "leave --images out: the bundle brings its own")
    flags = [
        text
        for name, value in (("--threads", threads), ("--seconds", seconds), ("--backend", backend))
        if value is not None
        for text in (name, str(value))
    ]
    with going_on_with(lambda: ""), log_lines(stderr=json_file == "-"):
        devices = bench_on(hosts, open_bundle(bundle), None if against is None else open_bundle(against), flags)
    if json_file != "-":
        print_benches(devices)
    if json_file is not None:
        show.write_record(to_json(devices), json_file)
    if any(device.error is not None for device in devices):
        raise typer.Exit(2)


def _print(result: Latency | Comparison) -> None:
    from edgexfer.gate.measure.latency import Latency

    if isinstance(result, Latency):
        print_latency(result)
        return
    for side in (result.bundle, result.against):
        print_latency(side, warnings=side is result.against)
    show.line(f"{result.bundle.subject.bundle} against {result.against.subject.bundle}: {result.sentence}", "bold")


def print_latency(latency: Latency, *, warnings: bool = True) -> None:
    """Prints what was measured, on what, and the percentiles of each step in milliseconds."""
    from edgexfer.gate.machine.host import machine_class
    from edgexfer.gate.measure.latency import PERCENTILES, STEPS

    subject = latency.subject
    threads = "threads as the engine chooses" if latency.threads is None else show.count(latency.threads, "thread")
    show.line(f"{subject.bundle} ({subject.precision}, {subject.engine}, {threads})", "bold")
    show.line(f"on {machine_class(latency.host)}", "dim")
    calls = show.count(len(latency.samples_ns["total"]), "call")
    show.line(f"{calls} after {latency.warmup} of warm-up, one image each: {latency.images}", "dim")
    headings = [f"p{q} ms" for q in PERCENTILES]
    made = show.table("step", *headings, right=tuple(headings))
    for step in STEPS:
        figures = [f"{latency.percentile(step, q) / 1e6:.2f}" for q in PERCENTILES]
        made.add_row(step, *figures, style="bold" if step == "total" else "")
    show.console().print(made)
    if latency.started:
        processes = show.count(len(latency.started), "fresh process", "fresh processes")
        show.line(
            f"from opening the bundle to the first prediction {latency.load_ms:.0f} ms, peak memory "
            f"{latency.peak_memory_mib:.0f} MiB: medians of {processes}"
        )
    for text in latency.warnings if warnings else ():
        show.warn(text)
