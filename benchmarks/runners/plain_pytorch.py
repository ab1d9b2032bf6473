"""A plain PyTorch fine-tune: the recipe of PyTorch's "Transfer Learning for Computer Vision" tutorial.

    python benchmarks/runners/plain_pytorch.py IMAGES.csv [--size 224] [--epochs 10]

As it stands there: all layers at one rate, SGD 0.001 with momentum 0.9, a tenth of it after every 7th epoch,
batches of 4, RandomResizedCrop and mirroring; the epoch that does best on val is what it returns. The tutorial trains
25 epochs. Not as there: one reading process a core (it says 4; PyTorch warns of more than there are cores), the
network is timm's EfficientNet-Lite0, and pixels are normalised as its weights want it.
"""

from __future__ import annotations

import copy

import torch
from given import MEAN, STD, arguments_of, clock_of, pretrained_network, read_images, top1_of, versions
from PIL import Image
from torch import nn
from torch.utils.data import DataLoader, Dataset
from torchvision import transforms

RUNNER = "plain PyTorch"


class Pictures(Dataset):
    """Images read from disk each time, as torchvision's ImageFolder does."""

    def __init__(self, samples: list[tuple[str, int]], transform: transforms.Compose) -> None:
        self._samples, self._transform = samples, transform

    def __len__(self) -> int:
        return len(self._samples)

    def __getitem__(self, index: int) -> tuple[torch.Tensor, int]:
        path, class_id = self._samples[index]
        with Image.open(path) as image:
            return self._transform(image.convert("RGB")), class_id


def main() -> None:
    """Trains, and tells of every evaluation."""
    arguments = arguments_of(__doc__)
    torch.manual_seed(arguments.seed)
    with clock_of(RUNNER) as clock:
        images = read_images(arguments.images)
        size, workers = arguments.size, arguments.workers
        towards = [transforms.ToTensor(), transforms.Normalize(MEAN, STD)]
        varied = transforms.Compose([transforms.RandomResizedCrop(size), transforms.RandomHorizontalFlip(), *towards])
        plain = transforms.Compose([transforms.Resize(round(size * 256 / 224)), transforms.CenterCrop(size), *towards])
        train = DataLoader(Pictures(images.by_split["train"], varied), 4, shuffle=True, num_workers=workers)
        val = DataLoader(Pictures(images.by_split["val"], plain), 4, num_workers=workers)
        network = pretrained_network(len(images.labels))
        criterion = nn.CrossEntropyLoss()
        optimizer = torch.optim.SGD(network.parameters(), lr=0.001, momentum=0.9)
        scheduler = torch.optim.lr_scheduler.StepLR(optimizer, step_size=7, gamma=0.1)
        best, best_state = 0.0, copy.deepcopy(network.state_dict())
        for epoch in range(arguments.epochs):
            network.train()
            for inputs, targets in train:
                optimizer.zero_grad()
                criterion(network(inputs), targets).backward()
                optimizer.step()
            scheduler.step()
            found = top1_of(network, val)
            clock.evaluated(epoch + 1, found)
            if found > best:
                best, best_state = found, copy.deepcopy(network.state_dict())
        seconds = clock.seconds()
        network.load_state_dict(best_state)
        test = images.by_split.get("test")
        clock.done(
            seconds,
            size=size,
            kept=best,
            test=top1_of(network, DataLoader(Pictures(test, plain), 32, num_workers=workers)) if test else None,
            recipe=f"SGD 0.001, momentum 0.9, StepLR(7), batches of 4, {arguments.epochs} epochs; keeps its best epoch",
            versions=versions("torch", "torchvision", "timm"),
        )


if __name__ == "__main__":
    main()
