"""Augmentation on the device that trains: a batch of uint8 pixels in, the same batch seen a little differently out.

Random zoom and shift (a crop of 80 to 100 % of each side), brightness and contrast, and a mirror where the
classes survive it. One affine sampling for the whole batch: no decoding, no copies back to the host. What torchvision
has beyond that (train/images/vary.py) comes before it and after it.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F  # noqa: N812 - the name the field knows it by
from torch import Tensor

from edgexfer.train.images.vary import Policy, erase, vary


@dataclass(frozen=True)
class Augmentation:
    """How far an image may be changed while its class stays.

    Attributes:
        smallest_crop: side of the smallest crop as a fraction of the image's, 0 to 1.
        mirror: whether half of the images are mirrored left to right.
        brightness: largest shift, as a fraction of the pixel range.
        contrast: largest change of the contrast, as a fraction.
        rotation: largest angle, in radians.
        policy: one of torchvision's policies on top, see train/images/vary.py; "none" for none.
        magnitude: of the policy "rand", 0 to 30.
        erasing: share of the images that lose a rectangle, 0 to 1.
        mixup: alpha of the Beta distribution that images are blended by, see train/images/vary.py; 0 for none.
        cutmix: alpha of the Beta distribution of the part that another image fills; 0 for none.
    """

    smallest_crop: float = 0.8
    mirror: bool = False
    brightness: float = 0.1
    contrast: float = 0.1
    rotation: float = 0.1
    policy: Policy = "none"
    magnitude: int = 9
    erasing: float = 0.0
    mixup: float = 0.0
    cutmix: float = 0.0


def augment(pixels: Tensor, how: Augmentation, generator: torch.Generator) -> Tensor:
    """Returns an augmented copy of the batch; images are not mixed, see `vary.mix`.

    Args:
        pixels: [N, 3, H, W] of any dtype, 0 to 255.
        how: the ranges; each image draws its own values.
        generator: on the CPU, so that every device draws the same values.

    Returns:
        float32 [N, 3, H, W], 0 to 255.
    """
    if how.policy != "none":
        pixels = vary(pixels, how.policy, how.magnitude, generator)
    seen = _light(pixels, how, generator)
    return erase(seen, how.erasing, generator) if how.erasing else seen


def _light(pixels: Tensor, how: Augmentation, generator: torch.Generator) -> Tensor:
    count = pixels.shape[0]

    def draw(low: float, high: float) -> Tensor:
        return (torch.rand(count, generator=generator) * (high - low) + low).to(pixels.device)

    scale = draw(how.smallest_crop, 1.0)
    angle = draw(-how.rotation, how.rotation)
    flip = torch.where(draw(0, 1) < 0.5, -1.0, 1.0) if how.mirror else torch.ones_like(scale)
    room = 1 - scale
    affine = torch.stack(
        [
            torch.stack([scale * angle.cos() * flip, -scale * angle.sin(), draw(-1, 1) * room], dim=1),
            torch.stack([scale * angle.sin() * flip, scale * angle.cos(), draw(-1, 1) * room], dim=1),
        ],
        dim=1,
    )
    images = pixels.float().contiguous(memory_format=torch.channels_last)
    grid = F.affine_grid(affine, list(images.shape), align_corners=False)
    seen = F.grid_sample(images, grid, mode="bilinear", padding_mode="reflection", align_corners=False)
    gain = draw(1 - how.contrast, 1 + how.contrast).view(-1, 1, 1, 1)
    shift = 255 * draw(-how.brightness, how.brightness).view(-1, 1, 1, 1)
    return seen.sub_(127.5).mul_(gain).add_(127.5 + shift).clamp_(0, 255)
