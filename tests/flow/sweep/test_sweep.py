"""sweep: real fine-tunings on generated pictures, and what becomes of trials that are ended, killed or shared."""

from __future__ import annotations

import json
import multiprocessing
import os
import signal
import socket
from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from edgexfer.core.errors import DataError, EdgexferError, SettingsError
from edgexfer.core.target import load_target
from edgexfer.core.toml import from_table, read_toml
from edgexfer.flow.sweep import division
from edgexfer.flow.sweep import sweep as flow
from edgexfer.flow.sweep import trial as trials_
from edgexfer.flow.sweep.outcome import Sweep
from edgexfer.flow.sweep.speed import Speed, Speeds
from edgexfer.train.checkpoint import open_checkpoint
from edgexfer.train.images import prepared
from edgexfer.train.settings import FinetuneSettings
from tests.train.pictures import picture_tree

LACKING = [name for name in ("optuna", "lightning", "timm", "onnx", "sklearn") if find_spec(name) is None]
if LACKING:
    pytest.skip(f"{', '.join(LACKING)} not installed (pip install 'edgexfer[train,sweep]')", allow_module_level=True)

pytestmark = pytest.mark.train

X86 = load_target("x86-cpu")
TINY = FinetuneSettings(
    backbone="mobilenetv2-050",
    weights="none",
    strategy="finetune",
    augmentation="none",
    epochs=1,
    device="cpu",
    layer_decay=1.0,
)
FIXED = ("backbone", "strategy", "augmentation", "epochs", "layer_decay")
SPACE = {"input_size": [32, 64], "learning_rate": [1e-3, 3e-3]}


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return picture_tree(tmp_path_factory.mktemp("sweep") / "pictures", (8, 8))


def run(data: Path, out: Path, trials: int = 4, **options: Any) -> Sweep:
    given = {"settings": TINY, "fixed": FIXED, "space": SPACE, "precision": "float32", **options}
    return flow.sweep(data, X86, out, trials=trials, **given)


def test_a_sweep_of_real_trainings(data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(flow, "SECONDS_EACH", 0.05)
    out = tmp_path / "sweeps" / "pictures"
    made = run(data, out, 2)
    assert made.counts() == {"complete": 2}
    assert set(made.speeds.of) == {"mobilenetv2-050@32", "mobilenetv2-050@64"}
    assert all(speed.latency_ms and speed.latency_ms > 0 for speed in made.speeds.of.values())
    assert made.speeds.engine.startswith("onnxruntime ")
    for trial in made.trials:
        assert len(trial.val_top1_by_epoch) == 2  # before the first step, and after the epoch
        assert trial.val_top1 == pytest.approx(max(trial.val_top1_by_epoch), abs=1e-4)
        assert trial.latency_ms == made.speeds.of[f"mobilenetv2-050@{trial.settings['input_size']}"].latency_ms
    # The checkpoints of the front are there and whole, and no others.
    assert made.best in made.front
    kept = sorted(path.name for path in (out / "trials").iterdir())
    assert kept == sorted(f"pictures-{trial.number:04}" for trial in made.front)
    assert made.best is not None
    best = open_checkpoint(made.best.checkpoint or "")
    assert best.manifest["metrics"]["val"]["top1"] == made.best.val_top1
    assert from_table(FinetuneSettings, read_toml(out / "best.toml"), "best") == FinetuneSettings(
        **{**made.best.settings, "device": "cpu"}
    )
    record = json.loads((out / "sweep.json").read_text(encoding="utf-8"))
    assert (record["best"], record["front"]) == (made.best.number, [trial.number for trial in made.front])
    assert sorted(path.name for path in out.iterdir()) == ["best.toml", "study.db", "sweep.json", "trials", "workers"]
    # The same again is done already: nothing is timed or trained a second time.
    monkeypatch.setattr(flow, "measure_speeds", None)
    monkeypatch.setattr(trials_, "finetune", None)
    assert run(data, out, 2) == made


def test_all_trials_divide_the_images_alike_whatever_is_found_alike_at_their_size(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(flow, "SECONDS_EACH", 0.05)
    found: list[int] = []

    def alike(*_: Any) -> list[tuple[str, str]]:
        first = 4 * (len(found) % 2)  # other images each time, as at another input size
        found.append(first)
        return [(f"a/{first:03}.png", f"a/{number:03}.png") for number in range(first + 1, first + 4)]

    monkeypatch.setattr(prepared, "_alike", alike)
    monkeypatch.setattr(division, "_A_PART", 5)  # 16 images: the study holds the division in 4 parts
    out = tmp_path / "s"
    made = run(data, out, 2, keep=True)
    assert made.counts() == {"complete": 2}
    assert len(set(found)) == 2
    rows = [open_checkpoint(trial.checkpoint or "").rows for trial in made.trials]
    assert rows[0] == rows[1]
    assert len({row.split for row in rows[0] if row.path in {f"a/{number:03}.png" for number in range(4)}}) == 1


def test_a_training_that_is_told_to_end_ends_at_once(data: Path, tmp_path: Path) -> None:
    from edgexfer.train.finetune import finetune
    from edgexfer.train.loop.trackers import Tracking

    seen: list[int] = []

    class Enough(Exception):  # noqa: N818 - as Optuna's own
        pass

    def watch(figures: Mapping[str, float], epoch: int) -> None:
        seen.append(epoch)
        assert 0 <= figures["finetune/val_top1"] <= 1
        if epoch == 1:
            raise Enough

    with pytest.raises(Enough):
        finetune(
            data,
            tmp_path / "run",
            FinetuneSettings(**{**vars_of(TINY), "epochs": 5, "input_size": 32}),
            tracked=Tracking(on_figures=watch),
        )
    assert seen == [0, 1]
    assert not (tmp_path / "run").exists()


def vars_of(settings: FinetuneSettings) -> dict[str, Any]:
    import dataclasses

    return dataclasses.asdict(settings)


class Training:
    """Stands for finetune: accuracy follows from the settings, and each call is counted."""

    def __init__(self) -> None:
        self.calls: list[FinetuneSettings] = []
        self.digest = "a" * 64
        self.fails: dict[int, BaseException] = {}

    def __call__(self, data: Path, out: Path, settings: FinetuneSettings, *, tracked: Any, **_: Any) -> Any:
        assert data.is_dir()
        self.calls.append(settings)
        if error := self.fails.get(len(self.calls)):
            raise error
        reached = 0.5 + (settings.input_size or 0) / 1000 + (settings.learning_rate or 0)
        for epoch in range((settings.epochs or 1) + 1):
            tracked.figures({"finetune/val_top1": reached * epoch / (settings.epochs or 1)}, step=epoch)
        out.mkdir(parents=True)
        (out / "weights").write_text("kept", encoding="utf-8")
        metrics = {"val": {"top1": reached}, "test": {"top1": reached - 0.1}}
        return SimpleNamespace(manifest={"metrics": metrics, "dataset_digest": self.digest})


@pytest.fixture
def training(monkeypatch: pytest.MonkeyPatch) -> Training:
    """Trials and timings that take no time; study, storage and processes are real."""
    made = Training()

    def speeds(networks: list[tuple[str, int]], *_: Any, **__: Any) -> Speeds:
        of = {f"{name}@{size}": Speed(size / 10, "float32", {"float32": size / 10}) for name, size in networks}
        return Speeds(of, "none 1.0", "here")

    def connect(*_: Any) -> None:
        raise AssertionError("a sweep on this machine opens no connection")

    monkeypatch.setattr(flow, "SPARE", 1)
    monkeypatch.setattr(flow, "measure_speeds", speeds)
    monkeypatch.setattr(trials_, "finetune", made)
    monkeypatch.setattr(socket.socket, "connect", connect)
    return made


WIDE = {"input_size": [32, 64, 96, 128], "learning_rate": {"low": 1e-4, "high": 1e-2, "log": True}}


def test_the_front_keeps_its_checkpoints_and_the_rest_go(data: Path, tmp_path: Path, training: Training) -> None:
    made = run(data, tmp_path / "s", 8, space=WIDE)
    assert len(training.calls) == made.counts()["complete"] + made.counts()["pruned"] == 8
    sizes = [trial.settings["input_size"] for trial in made.front]
    assert sizes == sorted(set(sizes))  # the fastest first, one of each size
    for trial in made.trials:
        there = (tmp_path / "s" / "trials" / f"s-{trial.number:04}").exists()
        assert there == (trial in made.front)
    every = run(data, tmp_path / "all", 3, space=WIDE, keep=True)
    assert len(list((tmp_path / "all" / "trials").iterdir())) == every.counts()["complete"]


@pytest.mark.usefixtures("training")
def test_what_falls_behind_networks_as_fast_is_ended_and_no_small_network_for_being_small(
    data: Path, tmp_path: Path
) -> None:
    settings = FinetuneSettings(**{**vars_of(TINY), "epochs": 4})
    made = run(data, tmp_path / "s", 20, space=WIDE, settings=settings)
    pruned = [trial for trial in made.trials if trial.kind == "pruned"]
    assert pruned
    for trial in pruned:
        assert 2 <= len(trial.val_top1_by_epoch) <= 4
        faster = [
            other
            for other in made.trials
            if other.kind == "complete"
            and other.number < trial.number
            and (other.latency_ms or 0) <= (trial.latency_ms or 0)
        ]
        assert len(faster) >= 3
        assert trial.checkpoint is None
    assert made.front[0].settings["input_size"] == 32


@pytest.mark.usefixtures("training")
def test_a_checkpoint_is_kept_while_its_trial_is_being_told(data: Path, tmp_path: Path) -> None:
    import optuna

    out = tmp_path / "s"
    run(data, out, 1, space=WIDE)
    study = optuna.load_study(study_name="s", storage=f"sqlite:///{out / 'study.db'}")
    trial = study.ask()  # as a worker elsewhere
    place = out / "trials" / f"s-{trial.number:04}"
    place.mkdir()
    trial.set_user_attr("settings", {**vars_of(TINY), "input_size": 128})
    trial.set_user_attr("checkpoint", str(place))
    run(data, out, 3, space=WIDE)
    assert place.is_dir()
    study.tell(trial, (0.01, 12.8))
    made = run(data, out, 4, space=WIDE)
    assert made.trials[trial.number].kind == "complete"
    assert not place.exists()


def test_interrupted_it_goes_on_as_if_nothing_had_been(data: Path, tmp_path: Path, training: Training) -> None:
    whole = run(data, tmp_path / "whole" / "s", 6, space=WIDE)
    wanted = [trial.settings for trial in whole.trials]
    training.calls.clear()
    training.fails[3] = KeyboardInterrupt()
    with pytest.raises(KeyboardInterrupt):
        run(data, tmp_path / "cut" / "s", 6, space=WIDE)
    again = run(data, tmp_path / "cut" / "s", 6, space=WIDE)
    assert [trial.kind for trial in again.trials[:4]] == ["complete", "complete", "failed", "complete"]
    assert again.trials[3].settings == again.trials[2].settings == wanted[2]
    assert again.counts()["complete"] + again.counts()["pruned"] == 6
    assert not list((tmp_path / "cut" / "s" / "trials").glob("*.partial"))


def test_the_users_mistake_ends_the_sweep_and_a_lack_of_memory_only_the_trial(
    data: Path, tmp_path: Path, training: Training
) -> None:
    training.fails[2] = EdgexferError("the disk is full", "free some space")
    with pytest.raises(EdgexferError, match="the disk is full"):
        run(data, tmp_path / "s", 4, space=WIDE)
    assert len(training.calls) == 2
    training.fails = {3: RuntimeError("DefaultCPUAllocator: can't allocate memory")}
    made = run(data, tmp_path / "s", 4, space=WIDE)
    lacking = [trial for trial in made.trials if trial.kind == "infeasible"]
    assert [trial.reason for trial in lacking] == ["there is not enough memory to train it"]
    assert made.counts()["complete"] + made.counts()["pruned"] == 4
    training.fails = {len(training.calls) + 1: RuntimeError("a bug")}
    with pytest.raises(RuntimeError, match="a bug"):
        run(data, tmp_path / "s", 5, space=WIDE)


def test_too_slow_networks_are_not_trained(data: Path, tmp_path: Path, training: Training) -> None:
    made = run(data, tmp_path / "s", 6, space=WIDE, limit_ms=7.0)
    assert {settings.input_size for settings in training.calls} <= {32, 64}
    refused = [trial for trial in made.trials if trial.kind == "infeasible"]
    assert all("the limit is 7" in trial.reason for trial in refused)
    assert made.best is not None
    assert (made.best.latency_ms or 0) <= 7
    none = run(data, tmp_path / "none", 3, space=WIDE, limit_ms=1.0)
    assert (none.best, training.calls[6:]) == (None, [])
    assert none.counts() == {"infeasible": 3 + flow.SPARE}  # and no more: the space is used up


def test_a_trial_that_repeats_another_costs_nothing(data: Path, tmp_path: Path, training: Training) -> None:
    made = run(data, tmp_path / "s", 6)  # there are but four combinations
    assert len(training.calls) == 4
    assert made.counts()["complete"] == 4
    assert made.counts()["repeated"] == 6 + flow.SPARE
    for trial in made.trials:
        if trial.kind == "repeated":
            assert trial.settings == made.trials[trial.same_as or 0].settings


def test_a_study_goes_on_only_as_it_was_begun(data: Path, tmp_path: Path, training: Training) -> None:
    run(data, tmp_path / "s", 2)
    with pytest.raises(SettingsError, match="was begun with settings"):
        run(data, tmp_path / "s", 3, settings=FinetuneSettings(**{**vars_of(TINY), "epochs": 2}))
    with pytest.raises(SettingsError, match="was begun with named"):
        run(data, tmp_path / "s", 3, space={**SPACE, "patience": [1, 2]})
    training.digest = "b" * 64
    with pytest.raises(DataError, match="not those that the study was begun with"):
        run(data, tmp_path / "s", 3)


def test_what_cannot_be_a_sweep_is_said(data: Path, tmp_path: Path, training: Training) -> None:
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "mine.txt").touch()
    with pytest.raises(EdgexferError, match="is not empty and holds no sweep"):
        run(data, tmp_path / "full")
    with pytest.raises(SettingsError, match="is no address of a database"):
        run(data, tmp_path / "s", storage="nonsense")
    with pytest.raises(SettingsError, match="cannot be used") as caught:
        run(data, tmp_path / "s", storage="sqlite:////nowhere/at/all/study.db")
    assert "unable to open database file" in caught.value.message
    with pytest.raises(SettingsError, match="unknown strategy 'finetun'"):
        run(data, tmp_path / "s", space={"strategy": ["finetun"]}, fixed=())
    with pytest.raises(SettingsError, match="trials is 0"):
        run(data, tmp_path / "s", 0)
    assert training.calls == []


def test_a_time_budget_begins_nothing_late(data: Path, tmp_path: Path, training: Training) -> None:
    assert run(data, tmp_path / "s", 5, time_budget_s=1e-9).counts() == {"waiting": 1}
    assert training.calls == []


def test_timed_again_the_figures_of_old_trials_change_too(
    data: Path, tmp_path: Path, training: Training, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = run(data, tmp_path / "s", 2)
    slow = Speeds({key: Speed(50.0, "float32", {}) for key in before.speeds.of}, "none 2.0", "here")
    monkeypatch.setattr(flow, "measure_speeds", lambda *_, **__: slow)
    assert run(data, tmp_path / "s", 2).speeds == before.speeds
    again = run(data, tmp_path / "s", 2, remeasure=True)
    assert {trial.latency_ms for trial in again.trials} == {50.0}
    assert len(training.calls) == 2


def _work(data: Path, out: Path, trials: int, killed_at: int = 0) -> None:
    if killed_at:
        real = trials_.finetune

        def finetune(*given: Any, **options: Any) -> Any:
            if len(real.calls) == killed_at - 1:  # type: ignore[attr-defined]
                os.kill(os.getpid(), signal.SIGKILL)
            return real(*given, **options)

        trials_.finetune = finetune
    run(data, out, trials, space=WIDE)


def worker(*given: Any) -> Any:
    """A process of its own, forked: it knows what the fixture has put in place of the training."""
    process = multiprocessing.get_context("fork").Process(target=_work, args=given)
    process.start()
    return process


@pytest.mark.filterwarnings("ignore:.*multi-threaded, use of fork:DeprecationWarning")
@pytest.mark.usefixtures("training")
def test_two_processes_share_one_study(data: Path, tmp_path: Path) -> None:
    workers = [worker(data, tmp_path / "s", 8) for _ in range(2)]
    for process in workers:
        process.join(60)
    assert [process.exitcode for process in workers] == [0, 0]
    made = run(data, tmp_path / "s", 8, space=WIDE)
    assert made.counts()["complete"] + made.counts()["pruned"] == 8
    assert sum(made.counts()[kind] for kind in ("failed", "running", "waiting")) == 0
    assert len({json.dumps(trial.settings) for trial in made.trials}) == 8  # never the same proposal twice


@pytest.mark.filterwarnings("ignore:.*multi-threaded, use of fork:DeprecationWarning")
def test_a_killed_workers_trial_is_done_again_at_once(data: Path, tmp_path: Path, training: Training) -> None:
    process = worker(data, tmp_path / "s", 4, 2)
    process.join(60)
    assert process.exitcode == -signal.SIGKILL
    made = run(data, tmp_path / "s", 4, space=WIDE)
    assert [trial.kind for trial in made.trials[:3]] == ["complete", "failed", "complete"]
    assert made.trials[2].settings == made.trials[1].settings == vars_of(training.calls[0])
    assert made.counts()["complete"] + made.counts()["pruned"] == 4
