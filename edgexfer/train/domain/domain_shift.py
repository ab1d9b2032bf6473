"""How far a user's images lie from those that the pretrained network saw: one number, without those images.

Every batch norm of a pretrained network remembers mean and variance of each of its channels over the images it was
trained on: they describe that domain (Li et al. 2016, "Revisiting Batch Normalization For Practical Domain
Adaptation", section 3). The same two figures are measured on the user's images, and the two normal distributions
compared by their Hellinger distance, which is 0 for the same distribution, at most 1, and does not run away where a
channel is silent, as the divergence of that paper does. The score is the mean over the channels of a layer, then over
the layers.

Anchors, measured with EfficientNet-Lite0 to 2 at 64 to 224 pixels (docs/finetune.md): photographs of insects 0.09 to
0.17, hand signs 0.19 to 0.26, 8x8 digits 0.27 to 0.34, random pixels 0.39 to 0.41.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from edgexfer.train.backbones import Normalization
from edgexfer.train.images.pixel_cache import PixelCache
from edgexfer.train.network import channels_last

# The statistics are over all positions too: six times as many large images change the score by 0.02 at most.
_IMAGES, _FEW_IMAGES, _LARGE_SIDE = 32, 8, 160
_BATCH = 8
_RANGES = (
    (0.18, "like the photographs it was pretrained on"),
    (0.27, "unlike those photographs in part"),
    (0.36, "far from those photographs"),
    (1.01, "as far from those photographs as noise is"),
)
FAR = _RANGES[1][0]
"""The score from which on pretrained features cannot be relied on to fit."""


@dataclass(frozen=True)
class DomainShift:
    """A pretrained network's distance to a set of images.

    Attributes:
        score: 0 (the same statistics) to 1.
        early: the same over the first third of the layers: colours, sharpness, edges.
        late: the same over the last third: what is on the images.
        images: how many it was measured on.
    """

    score: float
    early: float
    late: float
    images: int

    @property
    def words(self) -> str:
        """What the score means, by the anchors of the module's docstring."""
        return next(words for limit, words in _RANGES if self.score < limit)

    def to_json(self) -> dict[str, float | int | str]:
        """Returns the record for the manifest."""
        rounded = {name: round(getattr(self, name), 4) for name in ("score", "early", "late")}
        return {**rounded, "images": self.images, "words": self.words}


def domain_shift(
    network: nn.Module, normalization: Normalization, pixels: NDArray[np.uint8], device: str = "cpu"
) -> DomainShift | None:
    """Measures how far images lie from what `network` was pretrained on.

    Args:
        network: a pretrained network before its batch norms are folded (train/deploy.py); not changed.
        normalization: what its weights expect.
        pixels: uint8 [N, H, W, 3], RGB; some dozens are enough.
        device: where to compute; the network is moved there and back.

    Returns:
        None where there are no images, or no batch norm has seen any: random weights, another kind of network.
    """
    norms = [m for m in network.modules() if isinstance(m, nn.BatchNorm2d) and m.running_mean is not None]
    if not len(pixels) or not any(norm.running_mean is not None and norm.running_mean.any() for norm in norms):
        return None
    distances = [_distance(norm, *moments) for norm, moments in _moments(network, norms, normalization, pixels, device)]
    third = max(1, len(distances) // 3)
    early, late = float(np.mean(distances[:third])), float(np.mean(distances[-third:]))
    return DomainShift(float(np.mean(distances)), early, late, len(pixels))


def shift_of_rows(
    network: nn.Module,
    normalization: Normalization,
    cache: PixelCache,
    rows: NDArray[np.int64],
    *,
    seed: int = 0,
    device: str = "cpu",
) -> DomainShift | None:
    """Returns `domain_shift` of some of the cached images `rows`, drawn by `seed`: 32, or 8 large ones."""
    images = _IMAGES if cache.preprocess.height <= _LARGE_SIDE else _FEW_IMAGES
    drawn = np.sort(np.random.default_rng(seed).permutation(rows)[:images])
    return domain_shift(network, normalization, cache[drawn], device)


@torch.inference_mode()
def _moments(
    network: nn.Module,
    norms: list[nn.BatchNorm2d],
    normalization: Normalization,
    pixels: NDArray[np.uint8],
    device: str,
) -> list[tuple[nn.BatchNorm2d, tuple[Tensor, Tensor]]]:
    """Returns mean and variance per channel, float64 on the CPU, of what enters each batch norm, in order of use."""
    sums: dict[nn.BatchNorm2d, list[Tensor]] = {}
    counts: dict[nn.BatchNorm2d, int] = {}

    def look(norm: nn.Module, args: tuple[Tensor, ...]) -> None:
        assert isinstance(norm, nn.BatchNorm2d)  # noqa: S101 - hooked on nothing else
        assert norm.running_mean is not None  # noqa: S101 - filtered before
        # About the remembered mean, so that float32 holds the squares; one batch's sum over positions is exact enough.
        seen = args[0].float() - norm.running_mean.view(1, -1, 1, 1)
        found = torch.stack([seen.sum((0, 2, 3)), seen.square().sum((0, 2, 3))]).double().cpu()
        sums[norm] = [*sums.get(norm, []), found]
        counts[norm] = counts.get(norm, 0) + seen.numel() // seen.shape[1]

    mean, std = (
        torch.tensor(values, device=device).view(1, 3, 1, 1) for values in (normalization.mean, normalization.std)
    )
    with _evaluating(network, device), _hooked(norms, look):
        for first in range(0, len(pixels), _BATCH):
            batch = torch.from_numpy(pixels[first : first + _BATCH]).to(device).permute(0, 3, 1, 2)
            network(channels_last((batch.float() / 255 - mean) / std))
    result = []
    for norm, parts in sums.items():
        offset, square = torch.stack(parts).sum(0) / counts[norm]
        assert norm.running_mean is not None  # noqa: S101
        result.append((norm, (offset + norm.running_mean.double().cpu(), (square - offset**2).clamp(min=0))))
    return result


def _distance(norm: nn.BatchNorm2d, mean: Tensor, variance: Tensor) -> float:
    """Mean over the channels of the Hellinger distance between what `norm` remembers and what was seen."""
    assert norm.running_mean is not None  # noqa: S101
    assert norm.running_var is not None  # noqa: S101
    mean0, variance0 = norm.running_mean.double().cpu(), norm.running_var.double().cpu() + norm.eps
    variance = variance + norm.eps
    both = variance + variance0
    overlap = (2 * (variance * variance0).sqrt() / both).sqrt() * torch.exp(-((mean - mean0) ** 2) / (4 * both))
    return float((1 - overlap).clamp(min=0).sqrt().mean())


@contextmanager
def _evaluating(network: nn.Module, device: str) -> Iterator[None]:
    was_training, home = network.training, next(network.parameters()).device
    network.eval().to(device)
    try:
        yield
    finally:
        network.train(was_training).to(home)


@contextmanager
def _hooked(norms: list[nn.BatchNorm2d], look: object) -> Iterator[None]:
    hooks = [norm.register_forward_pre_hook(look) for norm in norms]  # type: ignore[arg-type]
    try:
        yield
    finally:
        for hook in hooks:
            hook.remove()
