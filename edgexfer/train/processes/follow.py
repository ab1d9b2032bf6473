"""follow: what every process but the first does in a run of several: its share of each `fit`, and nothing else.

    torchrun --nproc-per-node 4 -m edgexfer finetune photos/

It neither reads DATA nor writes RUN: pixels, network and the state to resume from come from the leader.
"""

from __future__ import annotations

import logging
import tempfile
from pathlib import Path

import torch.distributed as dist

from edgexfer.train.loop.fit import STATE, run_loop
from edgexfer.train.loop.memory import keep_freed_memory
from edgexfer.train.processes.distributed import is_lost, open_group, receive
from edgexfer.train.processes.place import Place
from edgexfer.train.processes.shared_pixels import share_pixels

log = logging.getLogger(__name__)


def follow(place: Place) -> None:
    """Works for process 0 until that one has no more to do, or has ended.

    Raises:
        EdgexferError: this process met an error of its own; the others end when it does.
    """
    keep_freed_memory()
    try:
        open_group(place)
        while (job := receive()) is not None:
            with tempfile.TemporaryDirectory(prefix="edgexfer-") as name, share_pixels(None) as cache:
                folder = Path(name)
                if job.state is not None:
                    (folder / STATE).parent.mkdir(parents=True)
                    (folder / STATE).write_bytes(job.state)
                job.trainee.take_pixels(cache)
                run_loop(job.trainee, folder, **job.options)
    except Exception as error:
        if not is_lost(error):
            raise
        log.info("process %d ends, since another one has", place.rank)  # which has said why
        return
    dist.destroy_process_group()
