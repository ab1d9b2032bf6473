"""Channels that belong together, what they are worth and cost, and the network without them."""

from __future__ import annotations

import copy
import sys

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from edgexfer.core.errors import EdgexferError, MissingPartError
from edgexfer.core.layer_times import LayerTime
from edgexfer.train.deploy import DeployNetwork
from edgexfer.train.prune.choose_channels import BLOCK, best_channels, choose_widths
from edgexfer.train.prune.cost import Cost, Term, counted
from edgexfer.train.prune.groups import Group, channel_groups
from edgexfer.train.prune.importance import importances, sensitivities
from edgexfer.train.prune.latency_table import drawn_widths, fit_table
from edgexfer.train.prune.moments import Moments, input_moments
from edgexfer.train.prune.narrow import narrow_to
from edgexfer.train.prune.remove import remove_channels
from tests.train.pictures import cache_of
from tests.train.tiny import CACHE, TRAIN

pytestmark = pytest.mark.train

EXAMPLE = torch.zeros(1, 3, 16, 16)
NOISE = cache_of(list(np.random.default_rng(0).integers(0, 256, (2048, 16, 16, 3), np.uint8)))
ROWS = np.arange(2048)


class Residual(nn.Module):
    """A stem, one inverted-residual block with its Add, a head: what every backbone of the table is made of."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 32, 3, stride=2, padding=1)
        self.expand = nn.Conv2d(32, 96, 1)
        self.depthwise = nn.Conv2d(96, 96, 3, padding=1, groups=96)
        self.project = nn.Conv2d(96, 32, 1)
        self.head = nn.Conv2d(32, 64, 1)
        self.classifier = nn.Linear(64, 2)

    def forward(self, x: Tensor) -> Tensor:
        x = self.stem(x).relu()
        x = x + self.project(self.depthwise(self.expand(x).relu()).relu())
        return self.classifier(self.head(x).relu().mean((2, 3)))


@pytest.fixture
def network() -> DeployNetwork:
    torch.manual_seed(0)
    return DeployNetwork(Residual(), 1 / 64, 128).eval()


def all_but(group: Group, gone: list[int]) -> Tensor:
    return torch.tensor([channel for channel in range(group.width) if channel not in gone])


def off(found: Tensor, wanted: Tensor) -> float:
    return (found - wanted).square().mean().item()


def worth_of(network: DeployNetwork) -> list[Tensor]:
    groups = channel_groups(network.network, EXAMPLE)
    moments = input_moments(network, groups, NOISE, ROWS)
    return importances(network, groups, moments, sensitivities(network, groups, NOISE, ROWS))


def test_what_an_add_or_a_depthwise_layer_ties_is_one_group_and_the_classifier_in_none(network: DeployNetwork) -> None:
    assert channel_groups(network.network, EXAMPLE) == (
        Group("stem", 32, ("stem", "project"), ("expand", "head")),
        Group("expand", 96, ("expand", "depthwise"), ("project",)),
        Group("head", 64, ("head",), ("classifier",)),
    )


def test_without_torch_pruning_it_says_what_to_install(network: DeployNetwork, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "torch_pruning", None)
    with pytest.raises(MissingPartError, match="torch-pruning is not installed"):
        channel_groups(network.network, EXAMPLE)


def test_channels_that_never_change_are_removed_without_a_trace(network: DeployNetwork) -> None:
    groups = channel_groups(network.network, EXAMPLE)
    inner = network.network
    assert isinstance(inner, Residual)
    with torch.no_grad():
        inner.depthwise.weight[:16] = 0  # what is left of these is their bias
        inner.depthwise.bias[:16] = 2.5  # type: ignore[index]
        inner.head.weight[8:40] = 0
    pixels = torch.from_numpy(CACHE[TRAIN]).permute(0, 3, 1, 2)
    before = network(pixels)
    moments = input_moments(network, groups, CACHE, TRAIN)
    kept = [torch.arange(32), all_but(groups[1], list(range(16))), all_but(groups[2], list(range(8, 40)))]
    remove_channels(inner, groups, kept, moments)
    assert [tuple(layer.weight.shape[:2]) for layer in (inner.expand, inner.depthwise, inner.project, inner.head)] == [
        (80, 32), (80, 1), (32, 80), (32, 32),
    ]  # fmt: skip
    torch.testing.assert_close(network(pixels), before, rtol=1e-4, atol=1e-5)


def test_a_network_becomes_as_narrow_as_the_weights_it_is_given(network: DeployNetwork) -> None:
    full, groups = copy.deepcopy(network), channel_groups(network.network, EXAMPLE)
    kept = [torch.arange(0, group.width, 2) for group in groups]
    remove_channels(network.network, groups, kept, input_moments(network, groups, CACHE, TRAIN))
    narrow_to(full, network.state_dict())
    full.load_state_dict(network.state_dict())
    pixels = torch.from_numpy(CACHE[TRAIN[:2]]).permute(0, 3, 1, 2)
    assert torch.equal(full(pixels), network(pixels))
    wrong = {**network.state_dict(), "network.stem.weight": torch.zeros(32, 3, 5, 5)}
    narrow_to(full, wrong)
    with pytest.raises(RuntimeError, match="size mismatch"):
        full.load_state_dict(wrong)


def test_moments_of_channels_far_from_zero_are_exact(network: DeployNetwork) -> None:
    groups = channel_groups(network.network, EXAMPLE)
    near = input_moments(network, groups, NOISE, ROWS[:256])["project"]
    inner = network.network
    assert isinstance(inner, Residual)
    inner.depthwise.register_forward_hook(lambda _, __, output: output.relu() + 1000)
    far = input_moments(network, groups, NOISE, ROWS[:256])["project"]
    torch.testing.assert_close(far.mean, near.mean + 1000, rtol=1e-6, atol=1e-4)
    torch.testing.assert_close(far.covariance, near.covariance, rtol=1e-2, atol=1e-4)


def test_what_the_others_can_tell_of_removed_channels_is_kept(network: DeployNetwork) -> None:
    groups = channel_groups(network.network, EXAMPLE)
    inner = network.network
    assert isinstance(inner, Residual)
    with torch.no_grad():
        for layer in (inner.expand, inner.depthwise):  # twins, half as strong
            layer.weight[:16] = layer.weight[16:32]
            layer.bias[:16] = layer.bias[16:32]  # type: ignore[index]
        inner.depthwise.weight[:16] *= 0.5
        inner.depthwise.bias[:16] *= 0.5  # type: ignore[index]
    pixels = torch.from_numpy(CACHE[TRAIN]).permute(0, 3, 1, 2)
    before = network(pixels)
    moments = input_moments(network, groups, CACHE, TRAIN)
    kept = [torch.arange(32), all_but(groups[1], list(range(16))), torch.arange(64)]
    told, means_alone = copy.deepcopy(network), copy.deepcopy(network)
    remove_channels(told.network, groups, kept, moments)
    apart = {name: Moments(one.mean, torch.diag(one.covariance.diagonal())) for name, one in moments.items()}
    remove_channels(means_alone.network, groups, kept, apart)
    assert off(told(pixels), before) < 0.05 * off(means_alone(pixels), before)


def test_of_twins_one_is_worth_nothing_and_the_other_what_both_were(network: DeployNetwork) -> None:
    groups = channel_groups(network.network, EXAMPLE)
    widths = {name: group.width for group in groups for name in group.readers}
    moments = {name: Moments(torch.zeros(n).double(), torch.eye(n).double()) for name, n in widths.items()}
    listens = {"expand": torch.eye(96).double(), "project": torch.eye(32).double(), "head": torch.eye(64).double()}
    listens["classifier"] = torch.eye(2).double()
    covariance = moments["classifier"].covariance
    covariance[0, 1] = covariance[1, 0] = 1 - 1e-6
    covariance[2, 2] = 1e-12
    worth = importances(network, groups, moments, listens)[2]
    weight = network.network.get_submodule("classifier").weight.double()  # type: ignore[operator]
    alone = weight.square().sum(0)
    torch.testing.assert_close(worth[3:].topk(40).values, alone[3:].topk(40).values)
    assert worth[2] < 1e-6 * worth.median()
    assert min(worth[0], worth[1]) < 1e-3 * worth.median()
    both = (weight[:, 0] + weight[:, 1]).square().sum()
    assert max(worth[0], worth[1]).item() == pytest.approx(both.item(), rel=1e-3)


def test_importance_is_how_far_the_logits_move(network: DeployNetwork) -> None:
    groups = channel_groups(network.network, EXAMPLE)
    worth = worth_of(network)[2]
    kept = torch.sort(worth.topk(48).indices).values
    pixels = torch.from_numpy(NOISE[ROWS]).permute(0, 3, 1, 2)
    before = network(pixels)
    moments = input_moments(network, groups, NOISE, ROWS)
    remove_channels(network.network, groups, [torch.arange(32), torch.arange(96), kept], moments)
    moved = network(pixels) - before
    moved = moved - moved.mean(1, keepdim=True)
    told = worth.sum() - worth[kept].sum()
    assert told.item() == pytest.approx(moved.square().sum(1).mean().item(), rel=0.3)


def test_importance_takes_layers_that_are_added_to_in_place_and_wide_kernels() -> None:
    torch.manual_seed(0)

    class InPlace(Residual):
        def __init__(self) -> None:
            super().__init__()
            self.project = nn.Conv2d(96, 32, 3, padding=1)

        def forward(self, x: Tensor) -> Tensor:
            x = self.stem(x).relu()
            y = self.project(self.depthwise(self.expand(x).relu()).relu())
            y += x
            return self.classifier(self.head(y).relu().mean((2, 3)))

    worth = worth_of(DeployNetwork(InPlace(), 1 / 64, 128).eval())
    assert [len(one) for one in worth] == [32, 96, 64]
    assert all((one > 0).all() for one in worth)


def test_counting_agrees_with_pytorchs_own(network: DeployNetwork) -> None:
    groups = channel_groups(network.network, EXAMPLE)
    costs = {measure: counted(network.network, groups, EXAMPLE, measure) for measure in ("params", "macs")}
    for step in (1, 2):
        kept = [torch.arange(0, group.width, step) for group in groups]
        narrow = copy.deepcopy(network)
        remove_channels(narrow.network, groups, kept, input_moments(network, groups, CACHE, TRAIN))
        widths = np.array([len(channels) for channels in kept])
        with FlopCounterMode(display=False) as flops, torch.no_grad():
            narrow.network(EXAMPLE)
        assert costs["params"].of(widths) == sum(p.numel() for p in narrow.parameters())
        assert costs["macs"].of(widths) == flops.get_total_flops() / 2


def test_blocks_that_are_worth_least_for_what_they_save_go_first() -> None:
    worth = [torch.linspace(1, 2, 64, dtype=torch.float64), torch.linspace(1, 2, 64, dtype=torch.float64)]
    dear = Cost("MACs", (Term(None, 0, by_write=1.0), Term(None, 1, by_write=9.0)))
    widths = choose_widths(worth, dear, 0.85 * dear.of(np.array([64, 64])))
    assert widths.tolist() == [64, 48]
    kept = best_channels(worth, widths)
    assert kept[1].tolist() == list(range(16, 64))
    odd = [torch.ones(40, dtype=torch.float64), torch.ones(24, dtype=torch.float64)]
    found = choose_widths(odd, dear, 0.7 * dear.of(np.array([40, 24])))
    assert all(width % BLOCK == 0 or width == full for width, full in zip(found, (40, 24), strict=True))
    with pytest.raises(EdgexferError, match="cannot go so far at once"):
        choose_widths(worth, Cost("us", (*dear.terms, Term(None, None, constant=1e4))), 100.0)


def test_the_table_finds_who_reads_and_writes_and_what_it_costs() -> None:
    groups = tuple(Group(str(n), width, (), ()) for n, width in enumerate((32, 96, 24, 1280)))
    files = drawn_widths(groups, block=16)
    assert files[0].tolist() == [32, 96, 24, 1280]
    true = (Term(0, 1, 5.0, 0.5, 0.25, 0.01), Term(None, 3, 2.0, 0.0, 0.1, 0.0), Term(None, None, 7.0))
    noisy = [1000, 1400, 3000]  # a quarter of the calls is quick; others were interrupted

    def layers(widths: np.ndarray) -> list[LayerTime]:
        sizes = ((9 * widths[0], 9 * widths[1]), (4 * widths[3], 4 * widths[3]), (10, 10))
        return [
            LayerTime(str(n), int(a), int(b), tuple(round(us * Cost("us", (term,)).of(widths)) for us in noisy))
            for n, ((a, b), term) in enumerate(zip(sizes, true, strict=True))
        ]

    table = fit_table(files, [[layers(widths)] for widths in files])
    asked = np.array([16, 64, 24, 640])
    scale = np.quantile(noisy, 0.25) / 1000
    assert table.of(asked) == pytest.approx(scale * Cost("us", true).of(asked), rel=0.01)
    assert [(term.reads, term.writes) for term in table.terms[1:]] == [(0, 1), (None, 3), (None, None)]
