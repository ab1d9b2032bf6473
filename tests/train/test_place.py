"""A process knows from its environment which one of a run it is."""

from __future__ import annotations

import pytest

from edgexfer.core.errors import SettingsError
from edgexfer.train.processes.place import Place, find_place

pytestmark = pytest.mark.train

TORCHRUN = {
    "TORCHELASTIC_RUN_ID": "none",
    "RANK": "5",
    "WORLD_SIZE": "8",
    "LOCAL_RANK": "1",
    "LOCAL_WORLD_SIZE": "4",
}
SRUN = {
    "SLURM_PROCID": "3",
    "SLURM_STEP_NUM_TASKS": "4",
    "SLURM_LOCALID": "1",
    "SLURM_NTASKS_PER_NODE": "2",
    "SLURM_NTASKS": "4",
}


def test_torchrun_and_srun_say_it_each_in_their_words() -> None:
    assert find_place(TORCHRUN) == Place(5, 8, 1, 4, "torchrun")
    assert find_place(TORCHRUN).nodes == 2
    assert find_place(SRUN) == Place(3, 4, 1, 2, "srun")
    assert find_place({**SRUN, **TORCHRUN}).launcher == "torchrun"  # started inside a job of SLURM


@pytest.mark.parametrize(
    "environment",
    [
        {},
        {"RANK": "1", "WORLD_SIZE": "2"},  # left over from something else
        {**TORCHRUN, "RANK": "0", "WORLD_SIZE": "1", "LOCAL_RANK": "0", "LOCAL_WORLD_SIZE": "1"},
        {key: value for key, value in SRUN.items() if key != "SLURM_STEP_NUM_TASKS"},  # a batch script without srun
    ],
)
def test_a_process_on_its_own_is_the_first_of_one(environment: dict[str, str]) -> None:
    assert find_place(environment) == Place(0, 1, 0, 1, None)


@pytest.mark.parametrize(
    ("environment", "says", "hint"),
    [
        ({**SRUN, "SLURM_NTASKS_PER_NODE": "3"}, "process 3 of 4, 1 of 3", "same number everywhere"),
        ({**TORCHRUN, "RANK": "8"}, "process 8 of 8", "same number everywhere"),
        ({**TORCHRUN, "WORLD_SIZE": "many"}, "WORLD_SIZE is 'many', expected a number", ""),
        ({key: TORCHRUN[key] for key in TORCHRUN if key != "LOCAL_RANK"}, "LOCAL_RANK is not set", "torchrun or srun"),
        ({key: SRUN[key] for key in SRUN if key != "SLURM_NTASKS_PER_NODE"}, "not told", "--ntasks-per-node"),
    ],
)
def test_what_cannot_be_is_an_error(environment: dict[str, str], says: str, hint: str) -> None:
    with pytest.raises(SettingsError, match=says) as caught:
        find_place(environment)
    assert hint in caught.value.hint
