"""A fine-tuning that was killed goes on with --resume and ends byte for byte where it would have ended."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from edgexfer.core.errors import ArtifactError, DataError, EdgexferError, SettingsError
from edgexfer.train.checkpoint import open_checkpoint
from edgexfer.train.finetune import finetune
from edgexfer.train.task import FinetuneSettings
from tests.images import put
from tests.train.pictures import picture_tree, png, stripes

pytestmark = pytest.mark.train

SETTINGS = FinetuneSettings(
    backbone="mobilenetv2-050",
    weights="none",
    strategy="finetune",
    epochs=4,
    batch_size=4,
    patience=100,
    find_learning_rate=True,
    augmentation="rand",
    random_erasing=0.3,
    mixup=0.2,
    ema=0.9,
    device="cpu",
)
CODE = f"""
import signal, sys, torch
from pathlib import Path
torch.set_num_threads(1)
from edgexfer.train.finetune import finetune
from edgexfer.train.task import FinetuneSettings
try:
    finetune(sys.argv[1], Path(sys.argv[2]), FinetuneSettings(**{vars(SETTINGS)!r}))
except KeyboardInterrupt:
    sys.exit(130 if signal.getsignal(signal.SIGINT) is signal.default_int_handler else 3)
"""


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return picture_tree(tmp_path_factory.mktemp("data") / "pictures", (16, 16))


def stopped(data: Path, run: Path, how: signal.Signals) -> subprocess.CompletedProcess[str]:
    """Starts a fine-tuning in a process of its own and stops it once its first epoch is saved."""
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-c", CODE, str(data), str(run)]
    saved = run.with_name(f"{run.name}.partial") / "trainer" / "last.safetensors"
    with subprocess.Popen(command, env=environment, text=True, stderr=subprocess.PIPE) as process:
        until = time.monotonic() + 120
        while process.poll() is None and time.monotonic() < until and not saved.is_file():
            time.sleep(0.01)
        process.send_signal(how)
        _, errors = process.communicate(timeout=60)
    return subprocess.CompletedProcess(command, process.returncode, "", errors)


@pytest.fixture(scope="module")
def whole(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return finetune(data, tmp_path_factory.mktemp("whole") / "run", SETTINGS).folder


@pytest.fixture(scope="module")
def killed(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    run = tmp_path_factory.mktemp("killed") / "run"
    assert stopped(data, run, signal.SIGKILL).returncode == -signal.SIGKILL
    return run


@pytest.fixture
def partial(killed: Path, tmp_path: Path) -> Path:
    """A run that was killed, this test's own copy; `RUN` for `RUN.partial`."""
    shutil.copytree(killed.with_name("run.partial"), tmp_path / "run.partial")
    return tmp_path / "run"


def without_what_varies(run: Path) -> dict[str, Any]:
    """A checkpoint's manifest without digests of its files and without the milliseconds that a pass over it took."""
    manifest = {name: value for name, value in open_checkpoint(run).manifest.items() if name not in ("files", "digest")}
    manifest["found"] = {**manifest["found"], "probe": {**manifest["found"]["probe"], "forward_ms": 0.0}}
    return manifest


def same_result(run: Path, whole: Path) -> None:
    assert (run / "weights.safetensors").read_bytes() == (whole / "weights.safetensors").read_bytes()
    assert (run / "split.csv").read_bytes() == (whole / "split.csv").read_bytes()
    tables = [[line.rpartition(",")[0] for line in (r / "history.csv").read_text().splitlines()] for r in (run, whole)]
    assert tables[0] == tables[1]
    assert len(tables[0]) == 6
    one, other = (without_what_varies(r) for r in (run, whole))
    assert one == other


def test_a_killed_run_ends_where_the_whole_one_did(data: Path, whole: Path, partial: Path) -> None:
    assert not partial.exists()
    with pytest.raises(ArtifactError, match="is not finished") as caught:
        open_checkpoint(partial)
    assert "--resume" in caught.value.hint
    same_result(finetune(data, partial, resume=True).folder, whole)
    assert [path.name for path in partial.parent.iterdir()] == ["run"]


def test_ctrl_c_is_a_keyboard_interrupt_and_leaves_a_run_to_resume(data: Path, whole: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    done = stopped(data, run, signal.SIGINT)
    assert done.returncode == 130, done.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["run.partial"]
    same_result(finetune(data, run, resume=True).folder, whole)


@pytest.mark.parametrize("step", ["training_step", "validation_step"])
def test_ctrl_c_works_again_after_an_interrupted_training(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    from edgexfer.train.loop.trainee import Trainee

    def interrupted(*_: object) -> None:
        os.kill(os.getpid(), signal.SIGINT)

    monkeypatch.setattr(Trainee, step, interrupted)
    with pytest.raises(KeyboardInterrupt):
        finetune(data, tmp_path / "run", SETTINGS)
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_an_interrupted_run_is_neither_forgotten_nor_replaced_unasked(data: Path, partial: Path) -> None:
    with pytest.raises(EdgexferError, match=r"run\.partial holds an interrupted run") as caught:
        finetune(data, partial, SETTINGS)
    assert "--resume" in caught.value.hint
    assert "--overwrite" in caught.value.hint
    quick = FinetuneSettings(**{**vars(SETTINGS), "epochs": 1})
    assert finetune(data, partial, quick, overwrite=True).manifest["settings"]["epochs"] == 1


def test_there_must_be_something_to_resume(data: Path, tmp_path: Path) -> None:
    with pytest.raises(EdgexferError, match="nothing to resume"):
        finetune(data, tmp_path / "run", SETTINGS, resume=True)


def test_other_classes_or_changed_images_are_refused(partial: Path, tmp_path: Path) -> None:
    other = picture_tree(tmp_path / "other", (16, 16, 16))
    with pytest.raises(SettingsError, match=r"has the classes a, b, c, the interrupted run had a, b"):
        finetune(other, partial, resume=True)
    changed = picture_tree(tmp_path / "changed", (16, 16))
    put(changed / "a" / "003.png", png(stripes(0, 777)))
    with pytest.raises(DataError, match=r"1 of 32 images are gone or were changed .* a/003\.png"):
        finetune(changed, partial, resume=True)
    assert (partial.with_name("run.partial") / "run.json").is_file()


@pytest.mark.parametrize("name", ["run.json", "start.safetensors", "split.csv", "trainer/last.safetensors"])
def test_a_damaged_run_is_named(data: Path, partial: Path, name: str) -> None:
    path = partial.with_name("run.partial") / name
    path.write_bytes(path.read_bytes()[:20])
    with pytest.raises(ArtifactError) as caught:
        finetune(data, partial, resume=True)
    assert caught.value.hint


def test_a_folder_of_the_users_own_is_never_taken_for_a_run(data: Path, tmp_path: Path) -> None:
    put(tmp_path / "run.partial" / "photographs" / "dear.jpg", b"dear")
    for overwrite in (False, True):
        with pytest.raises(EdgexferError, match=r"run\.partial .*no interrupted run"):
            finetune(data, tmp_path / "run", SETTINGS, overwrite=overwrite)
    assert (tmp_path / "run.partial" / "photographs" / "dear.jpg").read_bytes() == b"dear"


def test_what_a_crash_at_the_start_left_behind_is_replaced(data: Path, partial: Path) -> None:
    folder = partial.with_name("run.partial")
    (folder / "run.json").unlink()
    quick = FinetuneSettings(**{**vars(SETTINGS), "epochs": 1})
    assert json.loads((finetune(data, partial, quick).folder / "manifest.json").read_text())["kind"] == "checkpoint"
    assert not folder.exists()
