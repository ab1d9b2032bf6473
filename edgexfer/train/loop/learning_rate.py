"""The learning-rate range test (Smith 2017, section 3.3): the rate rises step by step until the loss gets worse.

A Trainee in, the peak rate to train it with out. Lightning's finder sets one rate for all layers; this one keeps the
share that each depth has of the classifier's rate, and takes the very batches, loss and optimizer that training would
take. Network, random numbers and mode are afterwards what they were before.

The rate where the loss was lowest is what the schedule peaks at: it rises to its peak and falls from there, so that
no other step takes as large a one (Smith and Topin 2019). Advice to stay ten times below is for a rate that is held:
on 200 images of signs that would be 2e-5, but at 3e-5 fine-tuning gained nothing, and at 2e-4 10 points.
"""

from __future__ import annotations

import copy
import json
import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch

from edgexfer.core.errors import ArtifactError
from edgexfer.core.files import write_file
from edgexfer.core.toml import from_table
from edgexfer.train.loop.trainee import GRADIENT_CLIP, Trainee

FOUND = "trainer/learning_rate.json"
LOWEST, HIGHEST = 1e-6, 1e-1
_LEAST_STEPS, _MOST_STEPS = 40, 100
_SMOOTHING = 0.8  # weight of the steps before in the running mean of the loss
_WORSE = 0.5  # the test ends where the loss is so far above its lowest, as a share of what it was at the start


@dataclass(frozen=True)
class FoundRate:
    """What a range test found.

    Attributes:
        rate: of the classifier at the peak of the schedule.
        reason: in words, for people.
        rates: of the classifier at each step.
        losses: running mean at each step.
    """

    rate: float
    reason: str
    rates: list[float]
    losses: list[float]

    def to_json(self) -> dict[str, Any]:
        """Returns it as JSON values."""
        return asdict(self)


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
    rates = [float(f"{LOWEST * (HIGHEST / LOWEST) ** (step / (steps - 1)):.4g}") for step in range(steps)]
    with _unchanged(trainee, device):
        losses = list(_running_losses(trainee, rates, batches))
    return _chosen(rates[: len(losses)], losses)


def find_once(trainee: Trainee, device: str, folder: Path) -> FoundRate:
    """Returns what `find_learning_rate` finds; a resumed run takes what was found before it was interrupted.

    Args:
        trainee: see `find_learning_rate`.
        device: see `find_learning_rate`.
        folder: of the run in progress, where it is kept.

    Raises:
        ArtifactError: what was kept cannot be read.
        EdgexferError: `folder` cannot be written.
    """
    kept = folder / FOUND
    if kept.exists():
        try:
            return from_table(FoundRate, json.loads(kept.read_bytes()), str(kept))
        except (OSError, ValueError, AttributeError, TypeError, RecursionError) as error:
            raise ArtifactError(f"{kept} cannot be read: {error}", "begin anew with --overwrite") from error
    found = find_learning_rate(trainee, device)
    write_file(kept, json.dumps(found.to_json()) + "\n")
    return found


def _running_losses(trainee: Trainee, rates: Sequence[float], batches: int) -> Iterator[float]:
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
        running = mean / (1 - _SMOOTHING ** (step + 1))
        first = running if step == 0 else first
        if not math.isfinite(running) or running > lowest + _WORSE * first:
            return
        lowest = min(lowest, running)
        yield round(running, 5)


def _chosen(rates: list[float], losses: list[float]) -> FoundRate:
    best = min(range(len(losses)), key=losses.__getitem__)
    rate = float(f"{rates[best]:.2g}")
    fell = f"the loss fell from {losses[0]:.3f} to {losses[best]:.3f} at {rates[best]:.2g}"
    rose = f" and rose from there, to {losses[-1]:.3f} at {rates[-1]:.2g}" if best + 1 < len(rates) else ""
    return FoundRate(rate, fell + rose, rates, losses)


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
