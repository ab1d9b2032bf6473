"""The real verbs, killed where it matters most: what is there is whole, and going on ends in the same weights.

Every point, and random moments, are what benchmarks/kill.py strikes at.
"""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from edgexfer.core.errors import BusyError, EdgexferError
from edgexfer.core.held import held_place
from edgexfer.train.settings import FinetuneSettings
from tests.faults.copied import all_copied, undrawn
from tests.faults.forked import in_child
from tests.faults.struck import Whole, kill, strike, whole
from tests.faults.verbs import VERBS, make_shared

pytestmark = [pytest.mark.train, pytest.mark.slow]
pytest.importorskip("lightning", reason="needs the extra [train]")

QUICK = FinetuneSettings(
    backbone="mobilenetv2-050", weights="none", strategy="finetune", epochs=1, input_size=32, batch_size=4, device="cpu"
)


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    import torch

    torch.set_num_threads(1)  # a child of a process with more would wait for threads that it has not
    folder = tmp_path_factory.mktemp("shared")
    make_shared(folder)
    return folder


@pytest.fixture(scope="module")
def undisturbed(shared: Path, tmp_path_factory: pytest.TempPathFactory) -> Whole:
    return whole(VERBS["finetune"], shared, tmp_path_factory.mktemp("whole"))


@pytest.mark.parametrize("share", [0.02, 0.25, 0.5, 0.8, 0.96, 0.999], ids=lambda share: f"{share:.0%} of the way")
def test_a_fine_tuning_that_is_killed_ends_in_the_same_weights(
    shared: Path, undisturbed: Whole, tmp_path: Path, share: float
) -> None:
    point = int(share * len(undisturbed.points))
    strike(VERBS["finetune"], shared, tmp_path / "struck", undisturbed, point=point)


def test_a_copy_at_a_point_is_what_a_kill_there_leaves(shared: Path, tmp_path: Path) -> None:
    verb = VERBS["finetune"]
    copies = all_copied(verb, shared, tmp_path / "copies")
    numbers = [point for one in copies for point in one.points]
    assert sorted(numbers) == list(range(len(numbers)))
    for one in copies[len(copies) // 4], copies[len(copies) // 2], copies[-2]:
        for which, point in ("first", one.points[0]), ("last", one.points[-1]):
            killed = tmp_path / f"{point}-{which}"
            assert kill(verb, shared, killed, point=point)
            assert _without_times(killed) == _without_times(one.copy), f"at point {point}"


def _without_times(folder: Path) -> dict[str, bytes]:
    """Returns the bytes of the files that hold no time of day and no seconds, of others their being there."""
    return {
        undrawn(path.relative_to(folder)): path.read_bytes() if path.name == "weights.safetensors" else b""
        for path in folder.rglob("*")
        if path.is_file()
    }


def test_a_second_process_on_one_run_says_who_is_there(shared: Path, tmp_path: Path) -> None:
    from edgexfer.train.finetune import finetune

    run = tmp_path / "run"

    def second() -> None:
        with pytest.raises(BusyError, match=rf"process {os.getppid()} \(since .* is at work on {run}"):
            finetune(shared / "data", run, QUICK)

    with held_place(run):
        ended = in_child(second)
    assert ended.code == 0, ended.said
    assert not run.exists()
    assert not run.with_name("run.partial").exists()


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of 6 MiB: the network before its first step fits on it, and the optimizer's state does not."""
    disk = tmp_path / "disk"
    disk.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=6m", "tmpfs", str(disk)]
    if os.getuid() != 0 or subprocess.run(mount, check=False, capture_output=True).returncode != 0:
        pytest.skip("a small disk cannot be mounted here (needs root)")
    try:
        yield disk
    finally:
        subprocess.run(["umount", str(disk)], check=True)


def test_a_full_disk_is_told_and_the_run_goes_on_where_there_is_room(
    shared: Path, small_disk: Path, tmp_path: Path
) -> None:
    from edgexfer.train.finetune import finetune

    run = small_disk / "run"
    with pytest.raises(EdgexferError, match=r"cannot write .*: No space left on device") as caught:
        finetune(shared / "data", run, QUICK)
    assert "free some space" in caught.value.hint
    assert not run.exists()
    left = [path for path in small_disk.rglob("*") if path.name.startswith(".")]
    assert left == []
    subprocess.run(["mount", "-o", "remount,size=100m", str(small_disk)], check=True)
    resume = run.with_name("run.partial").exists()
    made = finetune(shared / "data", run, QUICK, resume=resume)
    whole_one = finetune(shared / "data", tmp_path / "run", QUICK)
    weights = [(folder / "weights.safetensors").read_bytes() for folder in (made.folder, whole_one.folder)]
    assert weights[0] == weights[1]
