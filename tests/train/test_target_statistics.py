"""Batch-norm adaptation of a folded network does what AdaBN does to an unfolded one."""

from __future__ import annotations

import copy

import numpy as np
import pytest
import torch
from torch import nn

from edgexfer.train.backbones import HALF
from edgexfer.train.deploy import deploy_form
from edgexfer.train.domain.target_statistics import adapt_statistics
from edgexfer.train.loop.judge import logits
from tests.train.pictures import cache_of, stripes

pytestmark = pytest.mark.train

ROWS = np.arange(12)
SOURCE = [stripes(number % 2, number, side=16) for number in ROWS]
TARGET = [(picture * 0.4 + 90).astype(np.uint8) for picture in SOURCE]


def _plain() -> nn.Module:
    torch.manual_seed(0)
    layers = [
        part
        for i in range(2)
        for part in (nn.Conv2d(3 if i == 0 else 6, 6, 3, stride=2, bias=False), nn.BatchNorm2d(6), nn.ReLU())
    ]
    network = nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(6, 2))
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.uniform_(module.weight, 0.5, 2)
            nn.init.uniform_(module.bias, -1, 1)
    return network


def _measured(network: nn.Module, pictures: list[np.ndarray]) -> nn.Module:
    """The network with batch norms that hold the statistics of `pictures`, which is AdaBN."""
    measured = copy.deepcopy(network).train()
    for module in measured.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.reset_running_stats()
            module.momentum = None
    with torch.no_grad():
        measured((torch.from_numpy(np.stack(pictures)).permute(0, 3, 1, 2).float() / 255 - 0.5) / 0.5)
    return measured.eval()


def test_it_gives_what_adabn_gives() -> None:
    plain = _plain()
    folded = deploy_form(_measured(plain, SOURCE), HALF, 16, 16)
    wanted = deploy_form(_measured(plain, TARGET), HALF, 16, 16)
    with cache_of(SOURCE) as source, cache_of(TARGET) as target:
        before = logits(folded, target, ROWS)
        assert adapt_statistics(folded, source, ROWS, target, ROWS, prior_images=0) == 2
        expected = logits(wanted, target, ROWS)
        assert (before - expected).abs().max() > 0.1
        # Batch norm's running variance is unbiased, ours is that of the images.
        torch.testing.assert_close(logits(folded, target, ROWS), expected, atol=0.02, rtol=0.02)


def test_images_like_the_source_change_nothing_and_few_images_change_little() -> None:
    network = deploy_form(_measured(_plain(), SOURCE), HALF, 16, 16)
    with cache_of(SOURCE) as source, cache_of(TARGET) as target:
        before = logits(network, target, ROWS)
        same, few, all_in = (copy.deepcopy(network) for _ in range(3))
        adapt_statistics(same, source, ROWS, source, ROWS, prior_images=0)
        torch.testing.assert_close(logits(same, target, ROWS), before, atol=1e-3, rtol=1e-3)
        adapt_statistics(few, source, ROWS, target, ROWS, prior_images=1000)
        adapt_statistics(all_in, source, ROWS, target, ROWS, prior_images=0)
        moved = [(logits(made, target, ROWS) - before).abs().mean() for made in (few, all_in)]
        assert moved[0] < moved[1] / 10
