"""Where quantizers stand in a network for TensorRT: the rules on shapes, and small networks that need just one each."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
import torch
from torch import Tensor, nn

from edgexfer.core.preprocess import Preprocess
from edgexfer.core.target import load_calibration, load_target
from edgexfer.train.backbones import find_backbone
from edgexfer.train.checkpoint import empty_network
from edgexfer.train.deploy import DeployNetwork
from edgexfer.train.quantize.placement import convolution_stays_float, linear_stays_float
from edgexfer.train.quantize.quantized_graph import quantizers_of
from edgexfer.train.quantize.quantizers import (
    place_quantizers,
    quantizer_config,
    restore_quantizers,
    with_float_depthwise,
)

pytestmark = pytest.mark.train

JETSON, X86 = load_target("jetson-orin-nano"), load_target("x86-cpu")
RECIPE = load_calibration("balanced-256")
PIXELS = torch.randint(0, 256, (4, 3, 32, 32), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize(
    ("weight", "groups", "first", "stays"),
    [
        ((32, 3, 3, 3), 1, True, False),  # a stem: 3 channels in, but the network's first layer
        ((12, 3, 3, 3), 1, True, True),
        ((32, 3, 3, 3), 1, False, False),
        ((16, 16, 1, 1), 1, False, False),
        ((8, 16, 1, 1), 1, False, False),
        ((8, 8, 1, 1), 1, False, True),
        ((12, 20, 1, 1), 1, False, True),
        ((12, 24, 1, 1), 1, False, False),
        ((8, 32, 1, 3), 1, False, True),
        ((32, 8, 3, 3), 4, False, True),
        ((64, 16, 3, 3), 4, False, False),
        ((32, 1, 3, 3), 32, False, False),
        ((36, 1, 3, 3), 36, False, True),
        ((32, 1, 1, 1), 32, False, True),
        ((32, 1, 5, 5), 32, False, False),
    ],
)
def test_which_convolutions_gain(weight: Sequence[int], groups: int, first: bool, stays: bool) -> None:
    assert (convolution_stays_float(weight, groups, first=first) is not None) == stays


@pytest.mark.parametrize(
    ("weight", "rows", "stays"),
    [((10, 1280), 1, True), ((64, 64), 49, False), ((10, 64), 49, True), ((1, 64), 49, True)],
)
def test_which_products_gain(weight: Sequence[int], rows: int, stays: bool) -> None:
    assert (linear_stays_float(weight, rows) is not None) == stays


def test_the_reason_is_said_in_words() -> None:
    assert convolution_stays_float((36, 1, 3, 3), 36, first=False) == (
        "a depthwise convolution over 36 channels, no multiple of 8"
    )
    assert "a vector at batch 1" in (linear_stays_float((10, 1280), 1) or "")


class Network(nn.Module):
    """A stem, a body over 16 channels, and a classifier."""

    def __init__(self, body: nn.Module) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.stem = nn.Conv2d(3, 16, 3, padding=1)
        self.body = body
        self.last = nn.Conv2d(16, 16, 1)
        self.classifier = nn.Linear(16, 4)

    def forward(self, x: Tensor) -> Tensor:
        """Returns logits [N, 4]."""
        body = self.body(self.stem(x).relu())
        pooled = torch.nn.functional.adaptive_avg_pool2d(self.last(body).relu(), 1)
        return self.classifier(pooled.flatten(1))


class Residual(nn.Module):
    def __init__(self, *, pool: bool = False, project: bool = False) -> None:
        super().__init__()
        self.pool = nn.MaxPool2d(2) if pool else nn.Identity()
        self.conv = nn.Conv2d(16, 16, 3, padding=1)
        self.project = nn.Conv2d(16, 16, 1) if project else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        """Returns x + conv(x)."""
        x = self.pool(x)
        return self.conv(x) + self.project(x)


class Gate(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.before = nn.Conv2d(16, 16, 3, padding=1)
        self.squeeze = nn.Conv2d(16, 8, 1)
        self.expand = nn.Conv2d(8, 16, 1)

    def forward(self, x: Tensor) -> Tensor:
        """Returns the block's output, each channel weighed."""
        x = self.before(x).relu()
        return x * self.expand(self.squeeze(x.mean((2, 3), keepdim=True)).relu()).sigmoid()


def depthwise(channels: int = 16) -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(16, channels, 1),
        nn.ReLU(),
        nn.Conv2d(channels, channels, 3, groups=channels),
        nn.ReLU(),
        nn.Conv2d(channels, 16, 1),
    )


def placed(body: nn.Module) -> DeployNetwork:
    return place_quantizers(DeployNetwork(Network(body).eval(), 1 / 128, 128), PIXELS, JETSON, RECIPE).eval()


def places(network: DeployNetwork) -> set[str]:
    """The operators behind which, and the layers whose weights, are quantized."""
    return {
        name.split(".")[1].replace("__0", "").replace("/0__1", " weights") for name in quantizers_of(network.network)
    }


ENDS = {"x", "stem/conv2d weights", "/relu/0", "last/conv2d weights"}


def test_pool_and_classifier_stay_float_and_so_does_what_they_read() -> None:
    assert places(placed(nn.Identity())) == ENDS


@pytest.mark.parametrize("pool", [False, True])
def test_of_a_residual_add_the_convolution_enters_in_float(pool: bool) -> None:
    found = places(placed(Residual(pool=pool)))
    assert found == ENDS | {"body/conv/conv2d weights", "body/add/0"}


def test_where_both_branches_end_in_a_convolution_one_of_them_is_quantized() -> None:
    found = places(placed(Residual(project=True)))
    branches = {"body/conv/conv2d/0", "body/project/conv2d/0"}
    assert len(found & branches) == 1
    assert found - branches == ENDS | {"body/conv/conv2d weights", "body/project/conv2d weights", "body/add/0"}


def test_a_gate_has_both_inputs_quantized() -> None:
    found = places(placed(Gate()))
    assert found == ENDS | {
        "body/before/conv2d weights",
        "body/relu/0",  # what is weighed
        "body/sigmoid/0",  # the weight
        "body/mul/0",
    }


def test_a_gate_in_front_of_a_float_layer_has_none() -> None:
    class Last(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.gate = Gate()
            self.narrow = nn.Conv2d(16, 12, 1)
            self.wide = nn.Conv2d(12, 16, (1, 3))

        def forward(self, x: Tensor) -> Tensor:
            """Returns 16 channels."""
            return self.wide(self.narrow(self.gate(x)).relu())

    found = places(placed(Last()))
    # 16 to 12 channels stays in 8 bits (16 is a multiple of 8); a kernel of 1 x 3 from 12 does not.
    assert "body/narrow/conv2d weights" in found
    assert "body/wide/conv2d weights" not in found
    assert "body/relu/0" not in found
    assert {"body/gate/mul/0", "body/gate/sigmoid/0", "body/gate/relu/0"} <= found


def test_a_depthwise_layer_of_odd_width_stays_float_with_its_input() -> None:
    even, odd = places(placed(depthwise(24))), places(placed(depthwise(20)))
    assert {"body/2/conv2d weights", "body/1/relu/0"} <= even
    assert odd == even - {"body/2/conv2d weights", "body/1/relu/0"}


def test_the_form_with_float_depthwise_layers_keeps_their_rounded_weights_and_every_other_quantizer() -> None:
    network = placed(depthwise())
    example = network.centre(PIXELS[:1])
    mixed = with_float_depthwise(network, example)
    assert mixed is not None
    assert places(mixed) == places(network) - {"body/2/conv2d weights", "body/1/relu/0"}
    weight = mixed.network.body[2].weight  # type: ignore[index,union-attr]
    learned = network.network.body[2].weight  # type: ignore[index,union-attr]
    assert not torch.equal(weight, learned)
    assert len(weight[0].unique()) <= 9
    step = learned.abs().amax((1, 2, 3), keepdim=True) / 127
    steps = weight / step
    torch.testing.assert_close(steps, steps.round(), atol=1e-3, rtol=0)
    assert with_float_depthwise(placed(nn.Identity()), example) is None


def test_an_input_that_others_read_too_stays_quantized() -> None:
    class Shared(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.deep = nn.Conv2d(16, 16, 3, padding=1, groups=16)
            self.point = nn.Conv2d(16, 16, 1)
            self.join = nn.Conv2d(32, 16, 1)

        def forward(self, x: Tensor) -> Tensor:
            """Returns 16 channels."""
            return self.join(torch.cat([self.deep(x).relu(), self.point(x).relu()], 1))

    network = placed(Shared())
    mixed = with_float_depthwise(network, network.centre(PIXELS[:1]))
    assert mixed is not None
    assert places(network) - places(mixed) == {"body/deep/conv2d weights"}


@pytest.mark.parametrize("name", ["mobilenetv3-small", "mobilenetv4-conv-small", "resnet18"])
def test_restored_quantizers_are_exactly_those_that_learned(name: str) -> None:
    preprocess = Preprocess(32, 32)
    torch.manual_seed(0)
    network = place_quantizers(empty_network(find_backbone(name), 3, preprocess), PIXELS, JETSON, RECIPE).eval()
    again = restore_quantizers(empty_network(find_backbone(name), 3, preprocess), quantizer_config(network))
    again.load_state_dict(network.state_dict())
    assert quantizers_of(again.network).keys() == quantizers_of(network.network).keys()
    with torch.no_grad():
        assert torch.equal(again.eval()(PIXELS), network(PIXELS))


def test_for_onnx_runtime_every_layer_keeps_its_quantizers() -> None:
    network = place_quantizers(DeployNetwork(Network(depthwise(20)).eval(), 1 / 128, 128), PIXELS, X86, RECIPE)
    assert {"body/2/conv2d weights", "classifier/linear weights", "/adaptive_avg_pool2d/0"} <= places(network)
