"""Several processes that train one network: the group they form, and what the first tells the others.

Process 0 leads: it alone reads DATA, fits heads, decides, writes and prints, as if it were by itself. The others wait
(`follow.py`) until it calls `fit`; then all of them run Lightning's loop on the same Trainee, each on its share
of every batch. Objects travel between these processes through torch.distributed, as Lightning's own do; no file is
unpickled.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import torch
import torch.distributed as dist
from lightning.fabric.plugins.environments import LightningEnvironment, SLURMEnvironment, TorchElasticEnvironment

from edgexfer.core.errors import EdgexferError
from edgexfer.train.processes.place import Place, find_place

# Followers wait while the leader decodes and fits heads: as long as that takes.
_PATIENCE = timedelta(days=7)
_LOST = ("gloo", "nccl", "connection closed", "connection reset", "broken pipe", "connection refused", "tcpstore")


@dataclass(frozen=True)
class Job:
    """What followers do together with the leader: one `fit`.

    Attributes:
        trainee: a Trainee without its pixels, which come through `shared_pixels`.
        options: keyword arguments of `fit`'s loop.
        state: bytes of the state to resume from, or None.
    """

    trainee: Any
    options: dict[str, Any]
    state: bytes | None


def rank_and_size() -> tuple[int, int]:
    """Returns this process's number and how many train together: (0, 1) for one on its own."""
    return (dist.get_rank(), dist.get_world_size()) if dist.is_available() and dist.is_initialized() else (0, 1)


@contextmanager
def leading(place: Place | None = None) -> Iterator[None]:
    """Lets the block lead the other processes of this run; does nothing where there are none.

    When the block ends the others are told to end. After an error they are not told: they may be in the middle of a
    step, and end because this process does.

    Raises:
        EdgexferError: another process ended in the middle of the work.
    """
    place = find_place() if place is None else place
    if place.size == 1:
        yield
        return
    if place.rank > 0:
        raise EdgexferError(
            f"process {place.rank} of {place.size} cannot lead: process 0 does",
            "call edgexfer.train.processes.follow.follow(find_place()) in all other processes",
        )
    open_group(place)
    try:
        yield
        send(None)
    except Exception as error:
        if not is_lost(error):
            raise
        raise EdgexferError(
            "another process of this run has ended", "see its own error; what is saved goes on with --resume"
        ) from error
    dist.destroy_process_group()


def open_group(place: Place) -> None:
    """Joins the group of all processes: gloo for what lies in memory, NCCL for what lies on GPUs."""
    environment = lightning_environment(place)
    os.environ["MASTER_ADDR"] = environment.main_address
    os.environ["MASTER_PORT"] = str(environment.main_port)
    backend = "gloo"
    if torch.cuda.is_available():
        torch.cuda.set_device(place.local_rank % torch.cuda.device_count())
        backend = "cpu:gloo,cuda:nccl"
    dist.init_process_group(backend, rank=place.rank, world_size=place.size, timeout=_PATIENCE)


def lightning_environment(place: Place) -> Any:
    """Returns Lightning's name for who started the processes; it is told, since it would guess from other signs."""
    if place.launcher == "torchrun":
        return TorchElasticEnvironment()
    # A job that SLURM ends is gone on with by --resume, not by Lightning's own files.
    return SLURMEnvironment(auto_requeue=False) if place.launcher == "srun" else LightningEnvironment()


def send(job: Job | None) -> None:
    """Gives every follower its next job, or the word to end; called by the leader."""
    dist.broadcast_object_list([job], src=0)


def receive() -> Job | None:
    """Waits for what the leader sends next; called by followers."""
    box: list[Job | None] = [None]
    dist.broadcast_object_list(box, src=0)
    return box[0]


def is_lost(error: BaseException) -> bool:
    """Tells the end of another process, as this one notices it, from an error of its own."""
    if isinstance(error, dist.DistError):
        return True
    return isinstance(error, (RuntimeError, ConnectionError)) and any(word in str(error).lower() for word in _LOST)
