"""The same work on several devices at once; one that fails does not stop the others."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

from edgexfer.core.errors import EdgexferError, SettingsError
from edgexfer.remote.device import Device

Result = TypeVar("Result")


@dataclass
class Outcome(Generic[Result]):
    """What came of it on one device: a result, or an error.

    Attributes:
        host: as it was given.
        result: what the work returned; None where it failed.
        error: what the user can mend there; None where it did not fail.
    """

    host: str
    result: Result | None = None
    error: EdgexferError | None = None


def run_side_by_side(
    hosts: Sequence[str], work: Callable[[Device], Result], connect: Callable[[str], Device] = Device
) -> list[Outcome[Result]]:
    """Connects to every host and does `work` there, each in a thread of its own.

    Ctrl-C breaks all connections off, whereupon the devices clean up, and is passed on. So is an exception that is no
    EdgexferError: it is a bug of ours.

    Args:
        hosts: as `Device` takes them.
        work: called with the connected device.
        connect: makes the Device; does not connect yet.

    Returns:
        The outcomes, in the order of `hosts`.

    Raises:
        SettingsError: a host is given twice, or cannot be one.
    """
    if doubled := next((host for host in hosts if hosts.count(host) > 1), None):
        raise SettingsError(f"{doubled} is given twice", "name each device once")
    devices = [connect(host) for host in hosts]
    outcomes = [Outcome[Result](host) for host in hosts]
    bugs: list[BaseException] = []
    ended = threading.Semaphore(0)

    def visit(device: Device, outcome: Outcome[Result]) -> None:
        try:
            with device:
                outcome.result = work(device)
        except EdgexferError as error:
            outcome.error = error
        except BaseException as bug:  # noqa: BLE001 - raised in the caller's thread
            bugs.append(bug)
        finally:
            ended.release()

    threads = [threading.Thread(target=visit, args=pair) for pair in zip(devices, outcomes, strict=True)]
    for thread in threads:
        thread.start()
    try:
        for _ in threads:
            ended.acquire()
            if bugs:
                break
    finally:
        for device, thread in zip(devices, threads, strict=True):
            if thread.is_alive():
                device.abort()
            thread.join()
    if bugs:
        raise bugs[0]
    return outcomes
