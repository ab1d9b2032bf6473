"""What came back from devices, as tables: one line a device, and an error where one did not get to the end."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from edgexfer.cli import show

if TYPE_CHECKING:
    from edgexfer.flow.on import OnDevice


def print_devices(devices: Sequence[OnDevice]) -> None:
    """Prints what each device chose, how right and how fast it is there, where the bundle lies, and what to doubt."""
    right = ("top-1", "inference p50 ms", "p95 ms")
    table = show.table("device", "engine", "chosen", *right, "bundle there", right=right)
    for device in devices:
        table.add_row(*(show.cell(text) for text in _built_row(device)))
    show.console().print(table)
    _print_doubts(devices)


def print_benches(devices: Sequence[OnDevice]) -> None:
    """Prints the latency on each device, or how two bundles compare there."""
    compared = any(device.record.get("kind") == "comparison" for device in devices)
    if compared:
        for device in devices:
            if device.error is None:
                show.line(f"{device.host}: {device.record['sentence']}", "bold")
    else:
        right = ("inference p50 ms", "p95 ms", "p99 ms", "total p50 ms")
        table = show.table("device", "engine", *right, "machine", right=right)
        for device in devices:
            table.add_row(*(show.cell(text) for text in _latency_row(device)))
        show.console().print(table)
    _print_doubts(devices)


def _built_row(device: OnDevice) -> tuple[str, ...]:
    if device.choice is None:
        return (device.host, *["–"] * 6)
    engine, precision = str(device.record["engine"]), device.choice.precision
    shipped = next((record for record in device.choice.measured if record.shipped), None)
    if shipped is None:
        return (device.host, engine, precision, "–", "–", "–", device.bundle)
    latency = shipped.latency
    timed = ["–", "–"] if latency is None else [f"{latency.percentile('inference', q) / 1e6:.2f}" for q in (50, 95)]
    return device.host, engine, precision, show.percent(shipped.evaluation.top1), *timed, device.bundle


def _latency_row(device: OnDevice) -> tuple[str, ...]:
    from edgexfer.gate.machine.host import machine_class

    if device.error is not None:
        return (device.host, *["–"] * 6)
    summary = device.record["summary"]
    figures = [("inference", 50), ("inference", 95), ("inference", 99), ("total", 50)]
    cells = [f"{summary[step][f'p{q}_ms']:.2f}" for step, q in figures]
    return device.host, device.record["subject"]["engine"], *cells, machine_class(device.record["host"])


def _print_doubts(devices: Sequence[OnDevice]) -> None:
    for device in devices:
        if device.error is not None:
            show.failed(device.error)
            continue
        for text in device.record.get("warnings", ()):
            show.warn(f"{device.host}: {text}")
