"""Each strategy: what it changes in a network, and what it is for."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from edgexfer.core.errors import SettingsError
from edgexfer.core.intake import Intake
from edgexfer.train.head.probe import fit_probe, write_head
from edgexfer.train.images.augment import Augmentation
from edgexfer.train.images.prepared import Prepared
from edgexfer.train.images.split import SplitRow
from edgexfer.train.loop.judge import figures
from edgexfer.train.loop.trackers import Tracking
from edgexfer.train.network import DEPTHS, depth_groups
from edgexfer.train.settings import FinetuneSettings
from edgexfer.train.strategies import STRATEGIES, find_strategy
from edgexfer.train.task import Task
from tests.train.pictures import cache_of, stripes
from tests.train.tiny import CACHE, IDS, TRAIN, VAL, tiny

pytestmark = pytest.mark.train


def task_of(folder: Path, train: NDArray[np.int64] = TRAIN, **settings: Any) -> Task:
    """A task whose head is fitted, on two kinds of stripes."""
    folder.mkdir()
    network = tiny()
    probe = fit_probe(network, CACHE, IDS, train, VAL)
    write_head(network.network, probe)
    rows = tuple(
        SplitRow(f"{row}.png", "ab"[kind], "train" if row in TRAIN else "val", "") for row, kind in enumerate(IDS)
    )
    intake: Intake = None  # type: ignore[assignment] - strategies ask nothing of it
    return Task(
        network=network,
        prepared=Prepared(("a", "b"), rows, IDS, CACHE, intake),
        train=train,
        val=VAL,
        settings=FinetuneSettings(**{"batch_size": 8, "epochs": 2, "learning_rate": 1e-2, **settings}),
        augmentation=Augmentation(),
        pretrained="wheel of the test",
        device="cpu",
        folder=folder,
        tracked=Tracking(),
        found={"probe": probe.to_json(), "domain_shift": None},
    )


def changed_groups(task: Task, run: str, after: int = -1) -> list[bool]:
    """Runs a strategy and says of each depth group whether it has changed, whatever epoch is kept.

    Args:
        task: what the strategy works on.
        run: the strategy.
        after: the number of the step after which it is looked at, 0-based; the last one by default.
    """
    before = [[p.detach().clone() for p in group] for group in depth_groups(task.network.network)]
    trained: list[dict[str, torch.Tensor]] = []
    steps = torch.optim.AdamW.step

    def watched(self: Any, *args: Any, **more: Any) -> Any:
        result = steps(self, *args, **more)
        trained.append({name: value.detach().clone() for name, value in task.network.network.named_parameters()})
        return result

    torch.optim.AdamW.step = watched  # type: ignore[method-assign]
    try:
        find_strategy(run)(task)
    finally:
        torch.optim.AdamW.step = steps  # type: ignore[method-assign]
    names = {id(p): name for name, p in task.network.network.named_parameters()}
    groups = depth_groups(task.network.network)
    last = trained[after] if trained else dict(task.network.network.named_parameters())
    return [
        any(not torch.equal(last[names[id(p)]], old) for p, old in zip(group, olds, strict=True))
        for group, olds in zip(groups, before, strict=True)
    ]


def layers(task: Task) -> list[int]:
    """The depth groups that hold any weight: a network of four layers fills but a few of the eight."""
    return [depth for depth, group in enumerate(depth_groups(task.network.network)) if group]


def top1(task: Task) -> float:
    return float(figures(task.network, CACHE, IDS, VAL)["top1"])


def test_linear_probe_leaves_every_layer_as_it_was(tmp_path: Path) -> None:
    task = task_of(tmp_path / "run")
    assert not any(changed_groups(task, "linear-probe"))
    assert top1(task) >= 0.7


def test_linear_probe_fits_the_head_of_a_network_that_goes_on_learning(tmp_path: Path) -> None:
    task = task_of(tmp_path / "run")
    with torch.no_grad():
        list(task.network.network.parameters())[-2].zero_()
    assert top1(task) == 0.5
    STRATEGIES["linear-probe"](replace(task, start=cast("Any", "a checkpoint")))
    assert top1(task) >= 0.7


def test_linear_probe_needs_images_of_every_class(tmp_path: Path) -> None:
    task = task_of(tmp_path / "run")
    ones = np.array([row for row in TRAIN if IDS[row] == 1])
    with pytest.raises(SettingsError, match="DATA shows no a") as caught:
        STRATEGIES["linear-probe"](replace(task, train=ones, start=cast("Any", "a checkpoint")))
    assert "--strategy update" in caught.value.hint


def test_prototype_tells_two_classes_apart_by_one_image_each(tmp_path: Path) -> None:
    task = task_of(tmp_path / "run", train=np.array([1, 17]))
    assert changed_groups(task, "prototype") == [False] * (DEPTHS - 1) + [True]
    assert top1(task) >= 0.8


def test_finetune_changes_all_layers_and_never_ends_below_the_head(tmp_path: Path) -> None:
    task = task_of(tmp_path / "run")
    head = top1(task)
    changed = changed_groups(task, "finetune")
    assert [depth for depth in range(DEPTHS) if changed[depth]] == layers(task)
    assert top1(task) >= head


def test_last_n_changes_the_last_layers_alone(tmp_path: Path) -> None:
    task = task_of(tmp_path / "run", last_groups=4)
    changed = changed_groups(task, "last-n")
    assert [depth for depth in range(DEPTHS) if changed[depth]] == [d for d in layers(task) if d >= DEPTHS - 4]
    assert set(layers(task)) - set(range(DEPTHS - 4, DEPTHS))


def test_gradual_begins_with_the_head_and_ends_with_all_layers(tmp_path: Path) -> None:
    first = task_of(tmp_path / "first", epochs=4)
    assert changed_groups(first, "gradual", after=2) == [False] * (DEPTHS - 1) + [True]  # an epoch has 3 steps
    whole = task_of(tmp_path / "whole", epochs=5)
    changed = changed_groups(whole, "gradual")
    assert [depth for depth in range(DEPTHS) if changed[depth]] == layers(whole)


@pytest.mark.parametrize("length", [{"epochs": 1}, {"epochs": 2}, {"epochs": 3}, {"epochs": 10, "steps": 4}])
def test_gradual_comes_to_all_layers_however_short_it_is(tmp_path: Path, length: dict[str, int]) -> None:
    task = task_of(tmp_path / "run", **length)
    changed = changed_groups(task, "gradual")
    assert [depth for depth in range(DEPTHS) if changed[depth]] == layers(task)


def test_auto_says_what_it_chose_and_why(tmp_path: Path) -> None:
    task = task_of(tmp_path / "run")
    STRATEGIES["auto"](task)
    chosen = task.notes["auto"]
    assert (chosen["strategy"], chosen["learning_rate"], chosen["epochs"]) == ("finetune", 1e-2, 2)
    assert chosen["why"][0] == "24 training images of 2 classes, 12 or more of each"
    assert "% of images left out" in chosen["why"][1]


def test_auto_leaves_the_rate_to_be_found_where_that_is_asked_for(tmp_path: Path) -> None:
    task = task_of(tmp_path / "run", learning_rate=None, find_learning_rate=True)
    STRATEGIES["auto"](task)
    assert "learning_rate" in task.notes


def test_auto_takes_prototypes_where_a_class_has_one_image(tmp_path: Path) -> None:
    task = task_of(tmp_path / "run", train=np.array([1, 17]), epochs=None, learning_rate=None)
    STRATEGIES["auto"](task)
    assert task.notes["auto"]["strategy"] == "prototype"
    assert "most classes have a single image" in task.notes["auto"]["why"][-1]


@pytest.mark.parametrize(("seconds", "strategy", "epochs"), [(5.0, "linear-probe", None), (25.0, "finetune", 4)])
def test_auto_stays_within_its_time_budget(
    tmp_path: Path, seconds: float, strategy: str, epochs: int | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    task = task_of(tmp_path / "run", epochs=50, time_budget_s=seconds)
    # 24 images at four forward passes each and 8 judged with one: 5.2 s an epoch.
    task.found["probe"]["forward_ms"] = 50.0
    monkeypatch.setattr("edgexfer.train.plan.time.monotonic", lambda: task.began)
    STRATEGIES["auto"](task)
    assert (task.notes["auto"]["strategy"], task.notes["auto"]["epochs"]) == (strategy, epochs)
    assert any("time budget" in line for line in task.notes["auto"]["why"])


@pytest.mark.parametrize(("seconds", "strategy", "epochs"), [(5.0, "prototype", None), (25.0, "finetune", 4)])
def test_auto_stays_within_its_time_budget_from_a_checkpoint_too(
    tmp_path: Path, seconds: float, strategy: str, epochs: int | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = task_of(tmp_path / "run", epochs=50, time_budget_s=seconds)
    task = replace(made, start=cast("Any", "a checkpoint"), found={"forward_ms": 50.0})
    monkeypatch.setattr("edgexfer.train.plan.time.monotonic", lambda: task.began)
    changed = changed_groups(task, "auto")
    assert (task.notes["auto"]["strategy"], task.notes["auto"]["epochs"]) == (strategy, epochs)
    assert any("time budget" in line for line in task.notes["auto"]["why"])
    assert any(changed) is (strategy == "finetune")


def test_auto_keeps_to_its_plan_when_it_is_resumed(tmp_path: Path) -> None:
    task = task_of(tmp_path / "run", epochs=1, time_budget_s=1.0)
    task.found["probe"]["forward_ms"] = 50.0
    STRATEGIES["auto"](task)
    later = replace(task, settings=replace(task.settings, time_budget_s=1e6), notes={})
    STRATEGIES["auto"](later)
    assert later.notes["auto"] == task.notes["auto"]


def test_pretrain_looks_at_unlabelled_images_and_goes_on_as_auto(tmp_path: Path) -> None:
    pytest.importorskip("lightly", reason="needs the extra [pretrain]")
    task = task_of(tmp_path / "run", pretrain_epochs=1)
    unlabeled = cache_of([stripes(kind % 2, 200 + kind, side=16) for kind in range(40)])
    STRATEGIES["pretrain"](replace(task, unlabeled=unlabeled))
    assert task.notes["auto"]["strategy"] == "finetune"
    assert "pretrain" in task.notes


def test_an_unknown_one_is_refused_with_what_is_meant() -> None:
    with pytest.raises(SettingsError, match="unknown strategy 'gradul'") as caught:
        find_strategy("gradul")
    assert "did you mean 'gradual'" in caught.value.hint


def test_each_says_in_its_first_line_what_it_does() -> None:
    assert all(strategy.__doc__ and strategy.__doc__.splitlines()[0].endswith(".") for strategy in STRATEGIES.values())
