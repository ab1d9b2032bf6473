"""on: the same verbs on devices, over SSH; what they measured there comes back.

Bundle and images go over by content, so that a second run sends what changed and no more. Each device builds its
own engines and keeps them; several devices work side by side, and one that fails does not stop the others.
"""

from __future__ import annotations

import dataclasses
import json
import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from edgexfer.core.bundle import Bundle
from edgexfer.core.dataset import read_dataset
from edgexfer.core.errors import EdgexferError
from edgexfer.flow.choose import Choice
from edgexfer.gate.measure.evaluation import ImageResult
from edgexfer.gate.measure.measured import measured_from_json
from edgexfer.remote.device import Device
from edgexfer.remote.side_by_side import run_side_by_side

log = logging.getLogger(__name__)

EXTRAS = {"ort": ("cpu",), "openvino": ("openvino",), "tensorrt": ("tensorrt",)}
"""What of edgexfer a device needs beside the base, by backend; TensorRT itself comes with JetPack."""
_RECORD = "record.json"


@dataclass(frozen=True)
class OnDevice:
    """What came back from one device.

    Attributes:
        host: as it was given.
        bundle: where the bundle lies there; empty where it did not get that far.
        record: what the verb wrote with --json; empty where it failed.
        choice: what `build` found best there, None where it failed.
        error: why it failed.
    """

    host: str
    bundle: str = ""
    record: dict[str, Any] = field(default_factory=dict)
    choice: Choice | None = None
    error: EdgexferError | None = None


def build_on(hosts: Sequence[str], bundle: Bundle, data: str | Path, images: Sequence[ImageResult]) -> list[OnDevice]:
    """Builds a bundle on devices and has them judge it by the images that judged it here.

    Args:
        hosts: as `ssh` takes them.
        bundle: with every candidate.
        data: the data set that the images are of.
        images: which of them to send.

    Raises:
        EdgexferError: no device got to the end; the first one's reason, with its name.
    """
    root = read_dataset(data, any_column=True).root
    rows = [(root / image.path, image.path, image.label) for image in images]

    def work(device: Device) -> OnDevice:
        place = device.send_bundle(bundle.folder)
        sent = device.send_images(rows)
        record = _record_of(device, ["build", place, "--data", sent])
        records = tuple(measured_from_json(item, device.host) for item in record["records"])
        choice = Choice(record["precision"], records, record["decision"], tuple(record["warnings"]))
        return OnDevice(device.host, place, record, choice)

    devices = _side_by_side(hosts, bundle, work)
    if all(device.error is not None for device in devices):
        raise next(device.error for device in devices if device.error is not None)
    return devices


def deliver(devices: Sequence[OnDevice], bundle: Bundle) -> list[OnDevice]:
    """Puts the finished bundle where the candidates were, on each device that built them; engines stay.

    Returns:
        The devices, each with an error where it did not take it.
    """
    reached = {device.host: device for device in devices if device.error is None}

    def work(device: Device) -> OnDevice:
        place = device.send_bundle(bundle.folder)
        return dataclasses.replace(reached[device.host], bundle=place)

    delivered = {device.host: device for device in _side_by_side(list(reached), bundle, work)}
    return [delivered.get(device.host, device) for device in devices]


def bench_on(
    hosts: Sequence[str], bundle: Bundle, against: Bundle | None = None, flags: Sequence[str] = ()
) -> list[OnDevice]:
    """Measures a bundle's latency on devices, or how it compares there with another one.

    Args:
        hosts: as `ssh` takes them.
        bundle: what is measured.
        against: the one it is compared with.
        flags: further ones of `edgexfer bench`, each name followed by its value.

    Returns:
        One for each host: its record is that of `edgexfer bench --json`, or there is an error.
    """

    def work(device: Device) -> OnDevice:
        place = device.send_bundle(bundle.folder)
        turns = () if against is None else ("--against", device.send_bundle(against.folder))
        return OnDevice(device.host, place, _record_of(device, ["bench", place, *turns, *flags]))

    return _side_by_side(hosts, bundle, work)


def to_json(devices: Sequence[OnDevice]) -> dict[str, Any]:
    """Returns the record of several devices: {"kind": "devices", ..., "devices": {host: record, or its error}}."""
    found = {d.host: d.record if d.error is None else {"error": d.error.message, "hint": d.error.hint} for d in devices}
    return {"kind": "devices", "format_version": 1, "devices": found}


def _side_by_side(hosts: Sequence[str], bundle: Bundle, work: Callable[[Device], OnDevice]) -> list[OnDevice]:
    def visit(device: Device) -> OnDevice:
        device.install(extras=EXTRAS.get(bundle.target.backend, ()))
        return work(device)

    outcomes = run_side_by_side(hosts, visit)
    return [OnDevice(o.host, error=o.error) if o.result is None else o.result for o in outcomes]


def _record_of(device: Device, arguments: Sequence[str]) -> dict[str, Any]:
    """Runs a verb that writes a record there, and reads it."""

    def tell(stream: str, text: str) -> None:
        # Tables and warnings come back in the record; what is told on the way is on standard error.
        if stream == "err" and not text.startswith("warning: "):
            log.info("%s: %s", device.host, text)

    done = device.run([*arguments, "--json", _RECORD], results=(_RECORD,), on_line=tell)
    record: dict[str, Any] = json.loads(done.files[_RECORD])
    return record
