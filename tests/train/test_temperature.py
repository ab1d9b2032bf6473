"""The temperature: scores become honest, labels stay what they are, and a handful of images decides little."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from edgexfer.core.errors import EdgexferError
from edgexfer.core.manifest import write_manifest
from edgexfer.core.preprocess import Preprocess, pixels
from edgexfer.train.backbones import BACKBONES
from edgexfer.train.checkpoint import Checkpoint, open_checkpoint
from edgexfer.train.deploy import DeployNetwork, deploy_form
from edgexfer.train.finetune import finetune
from edgexfer.train.head.temperature import HIGHEST, LOWEST, fit_temperature, fold_temperature, loss_at
from edgexfer.train.network import build_network
from edgexfer.train.settings import FinetuneSettings
from tests.train.pictures import picture_tree, stripes

pytestmark = pytest.mark.train

QUICK = FinetuneSettings("mobilenetv2-050", "none", "linear-probe", input_size=32, device="cpu")


def drawn(temperature: float, images: int, classes: int = 5) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """Logits, and classes drawn with the probabilities that the logits over `temperature` promise."""
    random = np.random.default_rng(7)
    logits = random.normal(0, 3, (images, classes)).astype(np.float32)
    promised = torch.from_numpy(logits / temperature).softmax(1).numpy().astype(np.float64)
    ids = [random.choice(classes, p=row / row.sum()) for row in promised]
    return logits, np.array(ids, np.int64)


def sure(images: int, margin: float = 6.0) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """Logits that are right about every image, by `margin`, and the classes."""
    ids = np.arange(images, dtype=np.int64) % 2
    return (margin * np.eye(2, dtype=np.float32))[ids], ids


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return picture_tree(tmp_path_factory.mktemp("data") / "pictures", (14, 14, 14), noise=20.0)


@pytest.fixture(scope="module")
def runs(data: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Checkpoint, Checkpoint]:
    """The same run with its scores scaled and as they were."""
    folder = tmp_path_factory.mktemp("runs")
    plain = FinetuneSettings(**{**vars(QUICK), "temperature_scaling": False})
    return finetune(data, folder / "scaled", QUICK), finetune(data, folder / "plain", plain)


@pytest.mark.parametrize("temperature", [0.3, 1.0, 2.5])
def test_the_temperature_that_made_the_labels_is_found(temperature: float) -> None:
    logits, ids = drawn(temperature, 4000)
    found = fit_temperature(logits, ids)
    assert found == pytest.approx(temperature, rel=0.07)
    assert fit_temperature(logits, ids) == found
    assert loss_at(found, logits, ids) <= loss_at(1.0, logits, ids) + 1e-6


@pytest.mark.parametrize(("images", "least"), [(2, 0.7), (4, 0.65), (9, 0.55), (300, 0.3)])
def test_images_that_are_all_right_do_not_send_scores_to_one(images: int, least: float) -> None:
    assert least < fit_temperature(*sure(images)) < 1


def test_it_is_bounded_whatever_comes() -> None:
    logits, ids = sure(2000, margin=0.01)
    assert LOWEST <= fit_temperature(logits, ids) < 2 * LOWEST
    logits, ids = sure(2000, margin=300.0)
    assert HIGHEST / 2 < fit_temperature(logits, 1 - ids) <= HIGHEST
    assert fit_temperature(np.zeros((5, 3), np.float32), np.zeros(5, np.int64)) == pytest.approx(1, abs=1e-4)
    with pytest.raises(EdgexferError, match="not numbers") as caught:
        fit_temperature(np.full((3, 2), np.nan, np.float32), np.zeros(3, np.int64))
    assert "--learning-rate" in caught.value.hint


@pytest.mark.parametrize("backbone", ["mobilenetv2-050", "resnet18"])
def test_folding_divides_the_logits_and_nothing_else(backbone: str) -> None:
    torch.manual_seed(0)
    row = BACKBONES[backbone]
    network = deploy_form(build_network(row, 4), row.normalization, 32, 32)
    pixels = torch.from_numpy(np.stack([stripes(kind, 0, side=32) for kind in range(4)])).permute(0, 3, 1, 2)
    with torch.no_grad():
        before = network(pixels)
        fold_temperature(network, 0.4)
        assert torch.allclose(network(pixels), before / 0.4, rtol=1e-5, atol=1e-6)
        fold_temperature(network, 1 / 0.4)
        assert torch.allclose(network(pixels), before, rtol=1e-5, atol=1e-6)


def test_a_run_is_scaled_and_no_label_changes(runs: tuple[Checkpoint, Checkpoint], data: Path) -> None:
    scaled, plain = runs
    record = scaled.manifest["temperature"]
    assert plain.manifest["temperature"] is None
    assert LOWEST < record["temperature"] < HIGHEST
    assert record["temperature"] != pytest.approx(1, abs=0.01)
    paths = [row.path for row in scaled.rows]
    found, given = answers(scaled.float_network(), data, paths), answers(plain.float_network(), data, paths)
    assert torch.allclose(found, given / record["temperature"], rtol=1e-4, atol=1e-5)
    assert torch.equal(found.argmax(1), given.argmax(1))
    for split in ("val", "test"):
        figures, before = scaled.manifest["metrics"][split], plain.manifest["metrics"][split]
        assert (figures["top1"], figures["confusion"]) == (before["top1"], before["confusion"])
        assert record["before"][split]["calibration_error"] == before["calibration_error"]
        assert record["after"][split]["calibration_error"] == figures["calibration_error"]
    assert record["images"] == scaled.manifest["metrics"]["val"]["images"]
    assert record["after"]["val"]["loss"] < record["before"]["val"]["loss"]


def test_a_checkpoint_from_before_is_read(runs: tuple[Checkpoint, Checkpoint], tmp_path: Path) -> None:
    old = tmp_path / "old"
    old.mkdir()
    for name in ("weights.safetensors", "history.csv", "split.csv"):
        (old / name).write_bytes((runs[1].folder / name).read_bytes())
    manifest = json.loads((runs[1].folder / "manifest.json").read_text())
    del manifest["temperature"], manifest["settings"]["temperature_scaling"]
    own = ("kind", "format_version", "digest", "files")
    write_manifest(old, "checkpoint", {key: value for key, value in manifest.items() if key not in own})
    opened = open_checkpoint(old)
    assert "temperature" not in opened.manifest
    assert not opened.float_network().training


@torch.no_grad()
def answers(network: DeployNetwork, data: Path, paths: list[str]) -> torch.Tensor:
    """Logits for pictures of the folder, float32 [pictures, classes]."""
    taken = np.stack([pixels(data / path, Preprocess(32, 32)) for path in paths])
    return network(torch.from_numpy(taken).permute(0, 3, 1, 2))
