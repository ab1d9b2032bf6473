"""Place: which of the processes of one run this is, from what torchrun or srun put into the environment.

Imports nothing heavy: a process that only follows knows it before PyTorch is loaded.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from edgexfer.core.errors import SettingsError

Launcher = Literal["torchrun", "srun"]


@dataclass(frozen=True)
class Place:
    """A process among those that train one network together; alone by default.

    Attributes:
        rank: 0-based among all of them; 0 leads.
        size: how many there are.
        local_rank: 0-based among those of this machine; the number of its GPU.
        local_size: how many this machine has.
        launcher: who started them; None for a process on its own.
    """

    rank: int = 0
    size: int = 1
    local_rank: int = 0
    local_size: int = 1
    launcher: Launcher | None = None

    @property
    def nodes(self) -> int:
        """How many machines take part."""
        return self.size // self.local_size


def find_place(environment: Mapping[str, str] | None = None) -> Place:
    """Returns the place of this process.

    torchrun sets RANK, WORLD_SIZE, LOCAL_RANK and LOCAL_WORLD_SIZE, and a TORCHELASTIC_RUN_ID by which it is known.
    srun sets SLURM_PROCID and others in each task; a batch script that runs the command without srun is a process on
    its own, which SLURM_STEP_NUM_TASKS tells.

    Raises:
        SettingsError: a number is missing or none, or machines have different numbers of processes.
    """
    variables = os.environ if environment is None else environment
    if "TORCHELASTIC_RUN_ID" in variables:
        names = ("RANK", "WORLD_SIZE", "LOCAL_RANK", "LOCAL_WORLD_SIZE")
        rank, size, local_rank, local_size = (_number(variables, name) for name in names)
        return _checked(Place(rank, size, local_rank, local_size, "torchrun"))
    if "SLURM_STEP_NUM_TASKS" in variables:
        if "SLURM_NTASKS_PER_NODE" not in variables:  # Lightning asks for it too
            raise SettingsError(
                "srun was not told how many processes a machine has",
                "give sbatch or srun --ntasks-per-node, not --ntasks",
            )
        names = ("SLURM_PROCID", "SLURM_STEP_NUM_TASKS", "SLURM_LOCALID", "SLURM_NTASKS_PER_NODE")
        rank, size, local_rank, local_size = (_number(variables, name) for name in names)
        return _checked(Place(rank, size, local_rank, local_size, "srun"))
    return Place()


def _number(variables: Mapping[str, str], name: str) -> int:
    try:
        return int(variables[name])
    except KeyError:
        raise SettingsError(
            f"{name} is not set in the environment", "start all processes with torchrun or srun"
        ) from None
    except ValueError:
        raise SettingsError(f"{name} is '{variables[name]}', expected a number") from None


def _checked(place: Place) -> Place:
    fits = 0 <= place.rank < place.size and 0 <= place.local_rank < place.local_size
    if not fits or place.size % place.local_size:
        raise SettingsError(
            f"{place.launcher} says process {place.rank} of {place.size}, {place.local_rank} of {place.local_size} on "
            "this machine, expected as many on each machine",
            "give every machine as many processes as it has GPUs, the same number everywhere",
        )
    return Place() if place.size == 1 else place
