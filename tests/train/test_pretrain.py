"""pretrain: a backbone learns from images without labels, and is kept as it was where that does not help."""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest
import safetensors.torch
import torch
from numpy.typing import NDArray
from torch import nn

from edgexfer.core.errors import DataError, MissingPartError, SettingsError
from edgexfer.train.begin import START
from edgexfer.train.deploy import DeployNetwork
from edgexfer.train.domain import pretrain as module
from edgexfer.train.domain.pretrain import Standing, pretrain_on_domain
from edgexfer.train.domain.self_supervised import Recipe, learn_without_labels, view
from edgexfer.train.finetune import finetune
from edgexfer.train.images.augment import Augmentation
from edgexfer.train.images.pixel_cache import PixelCache
from edgexfer.train.network import head_of
from edgexfer.train.settings import FinetuneSettings
from edgexfer.train.strategies import find_strategy
from edgexfer.train.task import Task
from tests.train.pictures import cache_of, picture_tree, stripes
from tests.train.test_strategies import task_of
from tests.train.tiny import CACHE, tiny

pytestmark = pytest.mark.train

SHORT = Recipe(epochs=2, batch_size=8, learning_rate=1e-3)
PIXELS: Callable[[NDArray[np.int64]], NDArray[np.uint8]] = CACHE.__getitem__


@pytest.fixture
def lightly() -> None:
    pytest.importorskip("lightly", reason="lightly is not installed (pip install 'edgexfer[pretrain]')")


@pytest.fixture(scope="module")
def unlabeled() -> PixelCache:
    return cache_of([stripes(number % 2, 200 + number, side=16) for number in range(24)])


def _weights(network: nn.Module) -> dict[str, torch.Tensor]:
    return {name: value.clone() for name, value in network.state_dict().items()}


def _same(one: dict[str, torch.Tensor], other: dict[str, torch.Tensor]) -> bool:
    return all(torch.equal(value, other[name]) for name, value in one.items())


def _learned(recipe: Recipe = SHORT, images: int = 32) -> tuple[DeployNetwork, int]:
    network = tiny()
    return network, learn_without_labels(network, PIXELS, images, recipe, Augmentation())


@pytest.mark.usefixtures("lightly")
def test_all_but_the_classifier_learns_and_the_same_every_time() -> None:
    before = _weights(tiny())
    network, epochs = _learned()
    assert epochs == 2
    assert not network.training
    changed = {name for name, value in network.state_dict().items() if not torch.equal(value, before[name])}
    name, _ = head_of(network.network)
    assert changed == {key for key in before if not key.startswith(f"network.{name}.")}
    assert all(bool(value.isfinite().all()) for value in network.state_dict().values())
    assert _same(_weights(network), _weights(_learned()[0]))
    assert not _same(_weights(network), _weights(_learned(replace(SHORT, seed=1))[0]))


@pytest.mark.usefixtures("lightly")
def test_the_features_do_not_collapse() -> None:
    def spread(network: DeployNetwork) -> float:
        body = nn.Sequential(*list(cast("nn.Sequential", network.network).children())[:-1])
        with torch.no_grad():
            seen = body(network.centre(torch.from_numpy(CACHE[np.arange(32)]).permute(0, 3, 1, 2)))
        return float(seen.std(0).mean())

    assert spread(_learned(replace(SHORT, epochs=4, learning_rate=5e-3))[0]) > 0.5 * spread(tiny())


@pytest.mark.usefixtures("lightly")
def test_it_ends_where_time_runs_out_and_where_the_loss_is_no_number() -> None:
    assert _learned(replace(SHORT, seconds=0.0))[1] == 0
    assert _learned(replace(SHORT, seconds=3600.0))[1] == 2
    network = tiny()
    with torch.no_grad():
        next(network.parameters()).fill_(float("nan"))
    assert learn_without_labels(network, PIXELS, 32, SHORT, Augmentation()) == 0
    assert isinstance(head_of(network.network)[1], nn.Linear)


@pytest.mark.usefixtures("lightly")
def test_an_interruption_gives_the_classifier_back() -> None:
    def cut(_: NDArray[np.int64]) -> NDArray[np.uint8]:
        raise KeyboardInterrupt

    network = tiny()
    before = _weights(network)
    with pytest.raises(KeyboardInterrupt):
        learn_without_labels(network, cut, 32, SHORT, Augmentation())
    assert _same(before, _weights(network))


def test_two_views_differ_in_place_and_colour_and_follow_from_the_generator() -> None:
    pixels = torch.from_numpy(CACHE[np.arange(4)]).permute(0, 3, 1, 2)
    one, other, again = (view(pixels, Augmentation(), torch.Generator().manual_seed(seed)) for seed in (0, 1, 0))
    assert torch.equal(one, again)
    assert not torch.equal(one, other)
    assert one.shape == pixels.shape
    assert 0 <= float(one.min()) <= float(one.max()) <= 255
    cast_of = one.mean((2, 3)) / one.mean((1, 2, 3))[:, None]
    assert float((cast_of - pixels.float().mean((2, 3)) / pixels.float().mean((1, 2, 3))[:, None]).abs().max()) > 0.05


def test_features_are_better_only_where_more_is_recognised() -> None:
    before = Standing(0.8, 0.5, 0.7, 0.75)
    assert Standing(0.9, 0.6, 0.7, 0.8).beats(before)
    assert Standing(0.8, 0.6, 0.8, 0.8).beats(before)
    assert Standing(0.8, 0.4, 0.7, 0.75).beats(before)
    assert not before.beats(before)
    assert Standing(0.7, 0.6, 0.9, 0.8).beats(before)
    assert not Standing(0.9, 0.4, 0.5, 0.7).beats(before)
    assert not Standing(float("nan"), float("nan"), 0.7, float("nan")).beats(before)


def _taught(weights: dict[str, torch.Tensor] | None, epochs: int = 3) -> Callable[..., int]:
    """Stands for learning without labels: leaves the network with these weights, or with random ones."""

    def learn(network: DeployNetwork, pixels: Any, images: int, *_: Any) -> int:
        assert pixels(np.array([0, images - 1])).shape == (2, 16, 16, 3)
        with torch.no_grad():
            for name, value in network.state_dict().items():
                value.copy_(torch.randn_like(value) if weights is None else weights[name])
        return epochs

    return learn


@pytest.mark.usefixtures("lightly")
@pytest.mark.parametrize("ruin", [0.0, float("nan")])
def test_a_network_that_was_harmed_is_not_kept(
    tmp_path: Path, unlabeled: PixelCache, monkeypatch: pytest.MonkeyPatch, ruin: float
) -> None:
    task = replace(task_of(tmp_path / "run"), unlabeled=unlabeled)
    before, probe = _weights(task.network), task.found["probe"]
    monkeypatch.setattr(
        module, "learn_without_labels", _taught({name: torch.full_like(v, ruin) for name, v in before.items()})
    )
    pretrain_on_domain(task)
    assert _same(before, _weights(task.network))
    assert task.found["probe"] is probe
    assert task.notes["pretrain"]["kept"] is False
    assert "the weights are the original ones" in task.notes["pretrain"]["decision"]
    assert _same(before, safetensors.torch.load_file(task.folder / START))


def _spoilt(folder: Path, unlabeled: PixelCache) -> tuple[Task, dict[str, torch.Tensor]]:
    """A task whose first layer is blind, and the weights that see."""
    task = replace(task_of(folder), unlabeled=unlabeled)
    seeing = _weights(task.network)
    with torch.no_grad():
        first = next(m for m in task.network.modules() if isinstance(m, nn.Conv2d))
        first.weight.mul_(1e-3)
    return task, seeing


@pytest.mark.usefixtures("lightly")
def test_better_features_are_kept_with_a_head_of_their_own_and_a_resumed_run_does_not_learn_them_again(
    tmp_path: Path, unlabeled: PixelCache, monkeypatch: pytest.MonkeyPatch
) -> None:
    task, seeing = _spoilt(tmp_path / "run", unlabeled)
    monkeypatch.setattr(module, "learn_without_labels", _taught(seeing))
    pretrain_on_domain(task)
    notes = task.notes["pretrain"]
    assert notes["kept"] is True
    assert notes["after"]["val_loss"] < notes["before"]["val_loss"]
    assert notes["images"] == {"unlabeled": 24, "training": 24}
    kept = _weights(task.network)
    name, _ = head_of(task.network.network)
    assert all(torch.equal(v, seeing[key]) for key, v in kept.items() if not key.startswith(f"network.{name}."))
    assert _same(kept, safetensors.torch.load_file(task.folder / START))

    def never(*_: Any) -> int:
        raise AssertionError("it was done before")

    monkeypatch.setattr(module, "learn_without_labels", never)
    resumed = replace(task, notes={}, found={})
    pretrain_on_domain(resumed)
    assert resumed.notes["pretrain"] == notes
    assert resumed.found["probe"] == task.found["probe"]


@pytest.mark.usefixtures("lightly")
def test_the_strategy_goes_on_with_auto(tmp_path: Path, unlabeled: PixelCache) -> None:
    task = replace(task_of(tmp_path / "run", pretrain_epochs=1, epochs=1), unlabeled=unlabeled)
    best = find_strategy("pretrain")(task)
    assert task.notes["pretrain"]["epochs"] == 1
    assert task.notes["pretrain"]["unlabeled_against_data"]["images"] == [24, 24]
    assert "auto" in task.notes
    assert best["epoch"] in (0, 1)


def test_what_it_needs_is_said(tmp_path: Path, unlabeled: PixelCache, monkeypatch: pytest.MonkeyPatch) -> None:
    task = task_of(tmp_path / "run")
    with pytest.raises(SettingsError, match="needs images of your domain") as nothing:
        pretrain_on_domain(task)
    assert "--unlabeled" in nothing.value.hint
    with pytest.raises(SettingsError, match="--from"):
        pretrain_on_domain(replace(task, unlabeled=unlabeled, start=cast("Any", "a checkpoint")))
    monkeypatch.setitem(sys.modules, "lightly.loss", None)
    with pytest.raises(MissingPartError, match="lightly") as missing:
        pretrain_on_domain(replace(task, unlabeled=unlabeled))
    assert "edgexfer[pretrain]" in missing.value.hint


def test_a_mistake_leaves_no_run_behind_that_would_be_in_the_way(tmp_path: Path) -> None:
    data = picture_tree(tmp_path / "data", (4, 4))
    with pytest.raises(SettingsError, match="needs images of your domain"):
        finetune(data, tmp_path / "run", FinetuneSettings(strategy="pretrain"))
    assert list(tmp_path.iterdir()) == [data]


@pytest.mark.usefixtures("lightly")
def test_too_few_images_are_refused(tmp_path: Path) -> None:
    few = cache_of([stripes(0, number, side=16) for number in range(4)])
    with pytest.raises(DataError, match="28 images"):
        pretrain_on_domain(replace(task_of(tmp_path / "run"), unlabeled=few))
