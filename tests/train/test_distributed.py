"""Several processes end where one does: the same weights, the same figures, one RUN, one line for an error."""

from __future__ import annotations

import csv
import os
import socket
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import safetensors.torch

from edgexfer.core.errors import EdgexferError
from edgexfer.train.checkpoint import open_checkpoint
from edgexfer.train.processes.distributed import leading
from edgexfer.train.processes.place import Place
from edgexfer.train.processes.share import Share
from tests.train.pictures import picture_tree
from tests.train.together import VARIANTS, train

pytestmark = pytest.mark.train

PROCESSES = 2
QUIET = {"OMP_NUM_THREADS": "1", "OMP_WAIT_POLICY": "PASSIVE", "PYTHONWARNINGS": "ignore"}
SETTINGS = ["--backbone", "mobilenetv2-050", "--weights", "none", "--strategy", "finetune", "--epochs", "2"]
SMALL = ["--batch-size", "8", "--input-size", "64", "--device", "cpu", "--no-mirror"]


@pytest.fixture(scope="module")
def alone(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("alone")
    for name in VARIANTS:
        train(name, folder / name)
    return folder


@pytest.fixture(scope="module")
def together(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two processes as srun starts them; the second one cannot see the files of the first and gets the pixels sent."""
    folder = tmp_path_factory.mktemp("together")
    with pytest.raises(KeyboardInterrupt):
        train("plain", folder / "resumed", cut=True)
    count = str(PROCESSES)
    shared = {"SLURM_STEP_NUM_TASKS": count, "SLURM_NTASKS": count, "SLURM_NTASKS_PER_NODE": count, "SLURM_NODEID": "0"}
    shared |= {**QUIET, "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(free_port())}
    command = [sys.executable, "-m", "tests.train.together", str(folder)]
    processes = [
        subprocess.Popen(
            command,
            env={**os.environ, **shared, "SLURM_PROCID": str(rank), "SLURM_LOCALID": str(rank)},
            stderr=subprocess.PIPE,
            text=True,
        )
        for rank in range(PROCESSES)
    ]
    errors = [process.communicate(timeout=300)[1] for process in processes]
    assert [process.returncode for process in processes] == [0] * PROCESSES, errors
    return folder


def free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])


def history(folder: Path) -> list[dict[str, str]]:
    with (folder / "history.csv").open(newline="") as file:
        return [{**row, "seconds": ""} for row in csv.DictReader(file)]


@pytest.mark.parametrize("name", [*VARIANTS, "resumed"])
def test_many_processes_learn_what_one_does(alone: Path, together: Path, name: str) -> None:
    reference = alone / ("plain" if name == "resumed" else name)
    one = safetensors.torch.load_file(reference / "best.safetensors")
    many = safetensors.torch.load_file(together / name / "best.safetensors")
    assert one.keys() == many.keys()
    for tensor in one:
        np.testing.assert_allclose(many[tensor].numpy(), one[tensor].numpy(), atol=2e-5)
    for row, other in zip(history(reference), history(together / name), strict=True):
        assert row.keys() == other.keys()
        for column in ("train_loss", "val_loss", "val_top1", "val_macro_f1"):
            assert (row[column] == "") == (other[column] == "")
            assert float(other[column] or 0) == pytest.approx(float(row[column] or 0), abs=2e-4)


def test_the_parts_of_a_batch_weigh_as_much_as_they_hold() -> None:
    import torch

    ids, rows = np.array([0, 0, 1, 1, 1]), np.array([4, 0, 1, 2, 3])
    parts = [Share(rank, 2) for rank in range(2)]
    assert np.concatenate([part.rows_of(rows) for part in parts]).tolist() == [4, 1, 3, 0, 2]
    weight = torch.tensor([1.0, 3.0])
    losses = np.array([0.5, 1.0, 2.0, 0.1, 0.7])  # of each image
    weights = weight.numpy()[ids]
    by_class = [part.factors(rows, ids, weight)[0] for part in parts]
    mine = [part.rows_of(rows) for part in parts]
    means = [(losses[m] * weights[m]).sum() / weights[m].sum() for m in mine]
    assert np.mean(np.multiply(by_class, means)) == pytest.approx((losses * weights).sum() / weights.sum())
    by_image = [part.factors(rows, ids, weight)[1] for part in parts]
    assert np.mean([factor * losses[m].mean() for factor, m in zip(by_image, mine, strict=True)]) == pytest.approx(
        losses.mean()
    )
    assert Share(1, 2).factors(rows[:1], ids, weight) == (0.0, 0.0)
    assert Share(1, 2).rows_of(rows[:1]).tolist() == [4]
    assert Share().factors(rows, ids, weight) == (1.0, 1.0)


def torchrun(*arguments: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", "2"]
    command += ["--master-port", str(free_port()), "-m", "edgexfer", "finetune", *arguments]
    environment = {**os.environ, **QUIET, "PYTHONPATH": str(Path.cwd())}
    return subprocess.run(command, cwd=cwd, env=environment, capture_output=True, text=True, timeout=300, check=False)


def test_torchrun_makes_one_run_as_one_process_does(tmp_path: Path) -> None:
    from edgexfer.train.finetune import finetune
    from edgexfer.train.settings import FinetuneSettings

    data = picture_tree(tmp_path / "pictures", (7, 7), noise=5.0)
    done = torchrun(str(data), "--out", "run", *SETTINGS, *SMALL, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("epoch 0/2") == done.stdout.count("epoch 2/2") == 1
    assert done.stdout.count("next: edgexfer export run") == 1
    assert sorted(path.name for path in tmp_path.iterdir()) == ["pictures", "run"]
    many = open_checkpoint(tmp_path / "run").manifest
    settings = FinetuneSettings(
        backbone="mobilenetv2-050",
        weights="none",
        strategy="finetune",
        epochs=2,
        batch_size=8,
        input_size=64,
        device="cpu",
        mirror=False,
    )
    one = finetune(data, tmp_path / "one", settings).manifest
    assert many["metrics"]["val"]["top1"] == one["metrics"]["val"]["top1"]
    assert many["dataset_digest"] == one["dataset_digest"]


def test_an_error_is_said_once_and_ends_all(tmp_path: Path) -> None:
    data = picture_tree(tmp_path / "pictures", (3, 3))
    (data / "a" / "000.png").write_bytes(b"broken")
    done = torchrun(str(data), "--out", "run", *SETTINGS, *SMALL, "--strict", cwd=tmp_path)
    assert done.returncode != 0
    lines = (done.stdout + done.stderr).splitlines()
    assert [line for line in lines if line.startswith(("error:", "hint:"))] == [
        line for line in lines if "cannot be used" in line or line.startswith("hint:  mend or remove")
    ]
    assert sum("cannot be used" in line for line in lines) == 1
    assert not any("edgexfer/" in line and line.lstrip().startswith("File") for line in lines)  # no traceback of ours
    assert [path.name for path in tmp_path.iterdir()] == ["pictures"]


def test_only_the_first_process_may_lead() -> None:
    with pytest.raises(EdgexferError, match="process 1 of 2 cannot lead"), leading(Place(1, 2, 1, 2, "torchrun")):
        pass
