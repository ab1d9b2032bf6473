"""A moving average of the weights is what is judged and kept, and an interrupted run ends with the same one."""

from __future__ import annotations

import csv
from dataclasses import replace
from pathlib import Path

import pytest
import safetensors.torch
import torch

from edgexfer.train.images.augment import Augmentation
from edgexfer.train.loop.fit import BEST, STATE, fit
from edgexfer.train.loop.judge import figures
from edgexfer.train.loop.trainer_state import load_state
from edgexfer.train.loop.weight_average import decay_at
from tests.train.tiny import CACHE, GENTLE, IDS, VAL, cut_off, tiny, trained, trainee_of

pytestmark = pytest.mark.train

AVERAGED = replace(GENTLE, ema=0.9)


def last_state(folder: Path) -> tuple[dict[str, torch.Tensor], dict[str, torch.Tensor]]:
    """The weights that training goes on from, and their average, both by name."""
    state = load_state(folder / STATE)
    (average,) = (part for name, part in state["callbacks"].items() if name.startswith("WeightAverage"))
    weights = {name.removeprefix("network."): value for name, value in state["state_dict"].items()}
    kept = {name.removeprefix("module."): value for name, value in average["average"].items()}
    return weights, kept


def test_the_decay_begins_low_and_ends_where_it_was_asked_for() -> None:
    decays = [decay_at(0.99, step) for step in range(5000)]
    assert decays[0] == 0
    assert decays == sorted(decays)
    assert decays[100] == pytest.approx(0.954, abs=1e-3)
    assert decays[-1] == 0.99


def test_the_average_is_judged_and_kept_and_training_goes_on_from_the_weights(tmp_path: Path) -> None:
    network, best = trained(tmp_path / "averaged", AVERAGED)
    weights, average = last_state(tmp_path / "averaged")
    trained(tmp_path / "plain")
    plain = load_state(tmp_path / "plain" / STATE)["state_dict"]
    # What is averaged has no say in how the network learns ...
    assert all(torch.equal(value, plain[f"network.{name}"]) for name, value in weights.items())
    # ... and what is kept is the average, not the weights.
    assert best["epoch"] == 3
    kept = safetensors.torch.load_file(tmp_path / "averaged" / BEST)
    assert all(torch.equal(value, average[name]) for name, value in kept.items())
    assert not all(torch.equal(value, weights[name]) for name, value in kept.items())
    assert figures(network, CACHE, IDS, VAL)["top1"] == pytest.approx(best["top1"])


def test_it_is_the_average_of_the_weights_after_each_step(tmp_path: Path) -> None:
    trainee = trainee_of(tiny(), AVERAGED)
    seen: list[torch.Tensor] = []
    trainee.on_train_batch_start = lambda *_: seen.append(trainee.network.network[-1].bias.detach().clone())  # type: ignore[method-assign]
    fit(trainee, tmp_path, stage="finetune", patience=None, device="cpu")
    weights, average = last_state(tmp_path)
    after = [*seen[1:], weights["network.9.bias"]]
    expected = after[0]
    for number, value in enumerate(after[1:], start=1):
        expected = torch.lerp(expected, value, 1 - decay_at(0.9, number))
    torch.testing.assert_close(average["network.9.bias"], expected)


@pytest.mark.parametrize(
    "augmentation", [Augmentation(), Augmentation(policy="rand", erasing=0.3, mixup=0.4, cutmix=1)]
)
def test_a_run_that_was_interrupted_ends_with_the_same_average(tmp_path: Path, augmentation: Augmentation) -> None:
    whole, best = trained(tmp_path / "whole", AVERAGED, augmentation=augmentation)
    cut_off(tmp_path / "cut", AVERAGED, augmentation)
    torch.rand(5)  # whatever happened to the global generator in between must not matter
    resumed, again = trained(tmp_path / "cut", AVERAGED, augmentation=augmentation)
    assert all(map(torch.equal, resumed.state_dict().values(), whole.state_dict().values()))
    assert again == best
    for one, other in zip(last_state(tmp_path / "whole"), last_state(tmp_path / "cut"), strict=True):
        assert all(torch.equal(value, other[name]) for name, value in one.items())
    tables = []
    for name in ("whole", "cut"):
        with (tmp_path / name / "history.csv").open(newline="") as file:
            tables.append([{**row, "seconds": ""} for row in csv.DictReader(file)])
    assert tables[0] == tables[1]
