"""How images are augmented: what the settings say, and where they say "auto", what the size of the set speaks for.

The rule is a cautious one, since strong augmentation is paid for in epochs and costs accuracy where there are few:

- RandAugment's best strength falls with the size of the training set and of the network (Cubuk et al. 2020, figure 1).
- Mixed images take more epochs to converge; "Bag of Tricks" (He et al. 2019, section 5.3) gives them 200 instead of
  120, and torchvision's recipe with all of these tricks has 600.
- Measured here on a small set (docs/finetune.md), the light one was ahead of each of the stronger ones.
"""

from __future__ import annotations

import math
from dataclasses import replace

from edgexfer.train.images.augment import Augmentation
from edgexfer.train.images.vary import MAGNITUDES
from edgexfer.train.settings import FinetuneSettings

_MANY_IMAGES, _MOST_IMAGES = 5_000, 100_000
_LONG, _VERY_LONG = 20, 100  # epochs; auto itself never takes as many, so that these are the user's wish
_SMALL_SET_MAGNITUDE, _USUAL_MAGNITUDE = 5, 9  # a WideResNet's on CIFAR-10, a ResNet-50's on ImageNet (appendix A)
_USUAL_MIXUP, _USUAL_CUTMIX, _USUAL_ERASING = 0.2, 1.0, 0.1  # torchvision's recipe


def auto_augmentation(images: int, epochs: int | None) -> Augmentation:
    """Returns what "auto" takes, not mirrored.

    Args:
        images: in the training part.
        epochs: that the user asked for; None for few.

    Returns:
        The light augmentation below 5,000 images or 20 epochs; from there on RandAugment, of magnitude 5, or 9 from
        100,000 images on; from 100 epochs on mixup, CutMix and random erasing as well.
    """
    if images < _MANY_IMAGES or epochs is None or epochs < _LONG:
        return Augmentation()
    magnitude = _USUAL_MAGNITUDE if images >= _MOST_IMAGES else _SMALL_SET_MAGNITUDE
    how = replace(_cropped(), policy="rand", magnitude=magnitude)
    if epochs < _VERY_LONG:
        return how
    return replace(how, erasing=_USUAL_ERASING, mixup=_USUAL_MIXUP, cutmix=_USUAL_CUTMIX)


def augmentation_for(settings: FinetuneSettings, images: int, *, mirror: bool) -> Augmentation:
    """Returns how training images are changed.

    Args:
        settings: what is given there holds; auto decides the rest.
        images: in the training part.
        mirror: whether half of them are mirrored.
    """
    auto = auto_augmentation(images, settings.epochs)
    how = auto
    if settings.augmentation == "none":
        how = _unchanged()
    elif settings.augmentation == "light":
        how = Augmentation()
    elif settings.augmentation != "auto":
        how = replace(_cropped(), policy=settings.augmentation, magnitude=_USUAL_MAGNITUDE)
    if settings.augmentation_strength is not None:
        how = _stronger(how, settings.augmentation_strength)
    extras = auto if settings.augmentation == "auto" else Augmentation()
    return replace(
        how,
        mirror=mirror,
        erasing=extras.erasing if settings.random_erasing is None else settings.random_erasing,
        mixup=extras.mixup if settings.mixup is None else settings.mixup,
        cutmix=extras.cutmix if settings.cutmix is None else settings.cutmix,
    )


def _unchanged() -> Augmentation:
    return Augmentation(smallest_crop=1.0, brightness=0.0, contrast=0.0, rotation=0.0)


def _cropped() -> Augmentation:
    # A policy turns images and changes their colours itself; the crop stays, as in the papers.
    return replace(Augmentation(), brightness=0.0, contrast=0.0, rotation=0.0)


def _stronger(how: Augmentation, factor: float) -> Augmentation:
    if how.policy == "rand":
        return replace(how, magnitude=min(MAGNITUDES - 1, math.floor(how.magnitude * factor + 0.5)))
    return replace(
        how,
        smallest_crop=1 - (1 - how.smallest_crop) * factor,
        brightness=how.brightness * factor,
        contrast=how.contrast * factor,
        rotation=how.rotation * factor,
    )
