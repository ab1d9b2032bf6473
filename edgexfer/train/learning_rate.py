"""The learning-rate range test (Smith 2017, section 3.3): the rate rises step by step until the loss gets worse.

A Trainee in, the peak rate to train it with out. Lightning's finder sets one rate for all layers; this one keeps the
share that each depth has of the classifier's rate, and takes the very batches, loss and optimizer that training would
take. Network, random numbers and mode are afterwards what they were before.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch

from edgexfer.train.trainee import GRADIENT_CLIP, Trainee

LOWEST, HIGHEST = 1e-6, 1e-1
_LEAST_STEPS, _MOST_STEPS = 40, 100
_SMOOTHING = 0.8  # weight of the steps before in the running mean of the loss
_WORSE = 0.5  # the test ends where the loss is so far above its lowest, as a share of what it was at the start
_BELOW_LOWEST = 10.0  # Howard and Gugger 2020, section 3.1: a tenth of the rate where the loss was lowest


@dataclass(frozen=True)
class FoundRate:
    """What a range test found.

    Attributes:
        rate: of the classifier at the peak of the schedule.
        reason: in words, for people.
        rates: of the classifier at each step.
        losses: smoothed, at each step.
    """

    rate: float
    reason: str
    rates: tuple[float, ...]
    losses: tuple[float, ...]

    def to_json(self) -> dict[str, Any]:
        """Returns it as JSON values."""
        return {
            "rate": self.rate,
            "reason": self.reason,
            "rates": [float(f"{rate:.4g}") for rate in self.rates],
            "losses": [round(loss, 5) for loss in self.losses],
        }


def find_learning_rate(trainee: Trainee, device: str) -> FoundRate:
    """Runs the range test: one epoch's batches, but between 40 and 100 steps, or fewer where the loss gets worse.

    Args:
        trainee: left as it is. Its schedule says what share of the classifier's rate each depth has, and the layers
            that learn are those of its last epoch.
        device: "cpu" or "cuda".

    Returns:
        The rate, why it, and the curve.
    """
    batches = len(trainee.train_dataloader())
    steps = min(_MOST_STEPS, max(_LEAST_STEPS, batches))
    rates = [LOWEST * (HIGHEST / LOWEST) ** (step / (steps - 1)) for step in range(steps)]
    with _unchanged(trainee, device):
        losses = list(_smoothed_losses(trainee, rates, batches))
    return _chosen(rates[: len(losses)], losses)


def _smoothed_losses(trainee: Trainee, rates: Sequence[float], batches: int) -> Iterator[float]:
    optimizer = trainee.configure_optimizers()["optimizer"]
    shares = [group["initial_lr"] / trainee.schedule.learning_rate for group in optimizer.param_groups]
    mean, lowest, first = 0.0, math.inf, math.nan
    for step, rate in enumerate(rates):
        for group, share in zip(optimizer.param_groups, shares, strict=True):
            group["lr"] = rate * share
        with torch.autocast("cuda", torch.bfloat16, enabled=trainee.device.type == "cuda"):
            loss = trainee.loss_of(step // batches, step % batches)
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(trainee.network.parameters(), GRADIENT_CLIP)
        optimizer.step()
        mean = _SMOOTHING * mean + (1 - _SMOOTHING) * float(loss.detach())
        smoothed = mean / (1 - _SMOOTHING ** (step + 1))
        first = smoothed if step == 0 else first
        if not math.isfinite(smoothed) or smoothed > lowest + _WORSE * first:
            return
        lowest = min(lowest, smoothed)
        yield smoothed


def _chosen(rates: Sequence[float], losses: Sequence[float]) -> FoundRate:
    best = min(range(len(losses)), key=losses.__getitem__)
    rate = float(f"{max(LOWEST, rates[best] / _BELOW_LOWEST):.2g}")
    reason = (
        f"a tenth of {rates[best]:.2g}, where the loss was lowest ({losses[0]:.3f} at first, then {losses[best]:.3f})"
    )
    return FoundRate(rate, reason, tuple(rates), tuple(losses))


@contextmanager
def _unchanged(trainee: Trainee, device: str) -> Iterator[None]:
    network = trainee.network
    state = copy.deepcopy(network.state_dict())
    learning = [parameter.requires_grad for parameter in network.parameters()]
    training, before = network.training, trainee.device
    try:
        with torch.random.fork_rng(devices=(torch.cuda.current_device(),) if device == "cuda" else ()):
            torch.manual_seed(trainee.schedule.seed)  # of dropout
            trainee.to(device)
            network.train()
            trainee.freeze_all_but(trainee.schedule.trainable_groups[-1])
            yield
    finally:
        trainee.close_feed()
        trainee.to(before)
        network.load_state_dict(state)
        network.train(training)
        for parameter, learns in zip(network.parameters(), learning, strict=True):
            parameter.requires_grad_(learns)
            parameter.grad = None
