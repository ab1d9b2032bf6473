"""One pixel cache for all processes that train together: each machine holds the pixels once.

The leader decoded them into a temporary file. Processes of its machine map that file. On every other machine one
process receives the pixels through the network, into a file of its own, and its neighbours map that one: DATA is needed
by the leader alone.
"""

from __future__ import annotations

import socket
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.distributed as dist

from edgexfer.core.preprocess import Preprocess
from edgexfer.train.images.pixel_cache import CacheHandle, PixelCache

_CHUNK_BYTES = 64 << 20


def share_pixels(cache: PixelCache | None) -> PixelCache:
    """Gives every process the pixels of the leader's cache; called by all processes together.

    Args:
        cache: the leader's; None for all others.

    Returns:
        The same rows; each process closes its own. The leader gets `cache` itself.
    """
    handle = _everyone(None if cache is None else _filed(cache).handle())[0]
    mine = cache if cache is not None else _mapped(handle)
    machines = _everyone(None if mine is not None else _machine())
    if not any(machines):
        return _there(mine)
    receivers = sorted({machine: rank for rank, machine in reversed(list(enumerate(machines))) if machine}.values())
    group = dist.new_group([0, *receivers], backend="gloo")  # called by all, members or not
    rank = dist.get_rank()
    if rank in (0, *receivers):
        mine = _copied(cache, group)
    handles = _everyone(mine.handle() if mine is not None and rank in receivers else None)
    if mine is None:
        mine = _mapped(handles[machines.index(machines[rank])])
    return _there(mine)


def _filed(cache: PixelCache) -> PixelCache:
    if cache.in_memory:
        raise ValueError("the pixel cache lies in this process's memory, where no other process can map it")
    return cache


def _mapped(handle: CacheHandle | None) -> PixelCache | None:
    try:
        return None if handle is None else PixelCache.mapped(handle)
    except OSError:
        return None


def _machine() -> str:
    # Containers of one machine that cannot see each other's processes count as machines of their own.
    try:
        boot, space = Path("/proc/sys/kernel/random/boot_id").read_text(), Path("/proc/self/ns/pid").readlink()
    except OSError:
        return f"{socket.gethostname()} process {dist.get_rank()}"
    return f"{socket.gethostname()} {boot.strip()} {space}"


def _copied(cache: PixelCache | None, group: Any) -> PixelCache:
    """Sends the leader's rows to one process of each machine; the rows that are left out stay behind."""
    shape: list[Any] = [(len(cache), cache.preprocess)] if cache is not None else [None]
    dist.broadcast_object_list(shape, src=0, group=group)
    images, preprocess = shape[0]
    made = cache if cache is not None else PixelCache(images, _preprocess(preprocess), budget_bytes=0)
    row_bytes = preprocess.height * preprocess.width * 3
    step = max(1, _CHUNK_BYTES // row_bytes)
    for start in range(0, images, step):
        count = min(step, images - start)
        if cache is not None:
            chunk = torch.from_numpy(cache[np.arange(start, start + count)])
        else:
            chunk = torch.empty((count, preprocess.height, preprocess.width, 3), dtype=torch.uint8)
        dist.broadcast(chunk, src=0, group=group)
        if cache is None:
            made.put(start, chunk.numpy())
    return made


def _preprocess(value: Any) -> Preprocess:
    assert isinstance(value, Preprocess)  # noqa: S101 - the leader's own
    return value


def _everyone(value: Any) -> list[Any]:
    """Returns what each process gave, by rank."""
    found: list[Any] = [None] * dist.get_world_size()
    dist.all_gather_object(found, value)
    return found


def _there(cache: PixelCache | None) -> PixelCache:
    assert cache is not None  # noqa: S101 - whoever could not map it has received it
    return cache
