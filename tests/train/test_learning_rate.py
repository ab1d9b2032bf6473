"""The range test finds a rate that training can take, and leaves no trace of itself but what it found."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch.optim.optimizer import register_optimizer_step_pre_hook

from edgexfer.core.errors import ArtifactError
from edgexfer.train.loop.fit import fit
from edgexfer.train.loop.learning_rate import FOUND, HIGHEST, LOWEST, find_learning_rate, find_once
from tests.train.tiny import GENTLE, tiny, trained, trainee_of

pytestmark = pytest.mark.train

MANY = replace(GENTLE, epochs=8)


def test_it_finds_a_rate_that_lowers_the_loss_and_tells_the_curve() -> None:
    found = find_learning_rate(trainee_of(tiny()), "cpu")
    assert LOWEST <= found.rate <= HIGHEST
    assert len(found.rates) == len(found.losses) <= 40
    assert found.rates == sorted(found.rates)
    assert min(found.losses) < found.losses[0]
    assert f"{min(found.losses):.3f}" in found.reason
    torch.rand(7)
    assert find_learning_rate(trainee_of(tiny()), "cpu") == found


def test_a_network_that_is_trained_with_it_learns(tmp_path: Path) -> None:
    rate = find_learning_rate(trainee_of(tiny(), MANY), "cpu").rate
    _, best = trained(tmp_path, replace(MANY, learning_rate=rate))
    assert best["top1"] == 1.0


def test_nothing_is_changed_by_it(tmp_path: Path) -> None:
    network = tiny()
    trainee = trainee_of(network)
    next(network.parameters()).requires_grad_(False)
    before = {name: value.clone() for name, value in network.state_dict().items()}
    learning = [parameter.requires_grad for parameter in network.parameters()]
    torch.manual_seed(3)
    random, training = torch.get_rng_state(), network.training
    find_learning_rate(trainee, "cpu")
    assert torch.equal(torch.get_rng_state(), random)
    assert network.training == training
    assert [parameter.requires_grad for parameter in network.parameters()] == learning
    assert all(parameter.grad is None for parameter in network.parameters())
    assert all(torch.equal(value, before[name]) for name, value in network.state_dict().items())
    next(network.parameters()).requires_grad_(True)
    fit(trainee, tmp_path / "after", stage="finetune", patience=None, device="cpu")
    without, _ = trained(tmp_path / "without")
    assert all(map(torch.equal, network.state_dict().values(), without.state_dict().values()))


def rates_by_step(schedule: Any) -> list[set[float]]:
    seen: list[set[float]] = []

    def note(optimizer: torch.optim.Optimizer, *_: Any) -> None:
        learn = [g for g in optimizer.param_groups if any(p.requires_grad for p in g["params"])]
        seen.append({group["lr"] for group in learn})

    handle = register_optimizer_step_pre_hook(note)
    try:
        find_learning_rate(trainee_of(tiny(), schedule), "cpu")
    finally:
        handle.remove()
    return seen


def test_each_depth_keeps_its_share_of_the_rate_and_frozen_ones_stay_frozen() -> None:
    seen = rates_by_step(replace(GENTLE, layer_decay=0.5))
    own = trainee_of(tiny(), replace(GENTLE, layer_decay=0.5)).configure_optimizers()["optimizer"]
    shares = sorted({group["initial_lr"] / GENTLE.learning_rate for group in own.param_groups})
    for rates in seen:
        assert sorted(rate / max(rates) for rate in rates) == pytest.approx(shares)
    assert [max(rates) for rates in seen[:2]] == pytest.approx([1e-6, 1.343e-6])
    assert {len(rates) for rates in rates_by_step(replace(GENTLE, trainable_groups=(8, 1)))} == {1}


def test_a_resumed_run_takes_what_was_found(tmp_path: Path) -> None:
    found = find_once(trainee_of(tiny()), "cpu", tmp_path)
    other = trainee_of(tiny(), replace(GENTLE, seed=5))
    assert find_once(other, "cpu", tmp_path) == found
    assert find_learning_rate(other, "cpu") != found
    (tmp_path / FOUND).write_text("{")
    with pytest.raises(ArtifactError, match=r"learning_rate\.json cannot be read"):
        find_once(other, "cpu", tmp_path)
