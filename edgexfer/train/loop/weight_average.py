"""WeightAverage: an exponential moving average of a Trainee's weights, which is what is judged and kept.

Averages of late steps generalise better than the last step and are less noisy from epoch to epoch (Polyak and Juditsky
1992; Izmailov et al. 2018). PyTorch's AveragedModel holds the average of the network alone; Lightning's own callback
copies all of the LightningModule, the pixels of the images with it.
"""

from __future__ import annotations

from typing import Any

import lightning
import torch
from lightning.pytorch.callbacks import Callback
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from edgexfer.train.loop.trainee import Trainee

_WARMUP_POWER = 2 / 3


def decay_at(decay: float, step: int) -> float:
    """Returns the decay of the update after step number `step`, 0-based: `decay` in the end, less in the beginning.

    With 0.999 from the start on, half of the average would still be the untrained network after 700 steps, and a small
    set does not have as many. So it is 1 - (1 + step)^(-2/3) at most: Katherine Crowson's warm-up as in timm's
    ModelEmaV3. After 10, 100 and 1,000 steps that is 0.80, 0.95 and 0.99.
    """
    return min(decay, 1 - (1 + step) ** -_WARMUP_POWER)


class WeightAverage(Callback):
    """Averages the weights after each step; validation sees the average, the next step the weights themselves.

    Args:
        decay: 0 to 1, where a larger one looks further back; see `decay_at`.
    """

    def __init__(self, decay: float) -> None:
        self._decay, self._steps = decay, 0
        self._average: AveragedModel | None = None
        self._restored: dict[str, Tensor] = {}

    def weights_of(self, network: nn.Module) -> dict[str, Tensor]:
        """Returns the state of the average, or of `network` where training has not begun."""
        return dict((network if self._average is None else self._average.module).state_dict())

    def state_dict(self) -> dict[str, Any]:
        """Returns what a resumed run needs."""
        return {"steps": self._steps, "average": {} if self._average is None else dict(self._average.state_dict())}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Takes up what `state_dict` returned."""
        self._steps, self._restored = state_dict["steps"], state_dict["average"]

    def on_fit_start(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        """Begins with the network as it is, on the device where it is."""
        del trainer
        self._average = AveragedModel(_network(pl_module), multi_avg_fn=self._moved)
        if self._restored:
            self._average.load_state_dict(self._restored)

    def on_train_batch_end(
        self, trainer: lightning.Trainer, pl_module: lightning.LightningModule, *_: Any, **__: Any
    ) -> None:
        """Moves the average towards the weights, once for each step of the optimizer."""
        if self._average is not None and trainer.global_step > self._steps:
            self._average.update_parameters(_network(pl_module))
            self._steps = trainer.global_step

    def on_validation_start(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        """Puts the average into the network."""
        del trainer
        self._exchange(pl_module)

    def on_validation_end(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        """Puts the network's own weights back."""
        del trainer
        self._exchange(pl_module)

    def _moved(self, averages: Any, weights: Any, updates: Tensor | int) -> None:
        # `updates` may lie on a GPU, where reading it would wait for all that is under way.
        get_ema_multi_avg_fn(decay_at(self._decay, self._steps))(averages, weights, updates)

    @torch.no_grad()
    def _exchange(self, trainee: lightning.LightningModule) -> None:
        if self._average is None:
            return
        pairs = zip(self._average.module.parameters(), _network(trainee).parameters(), strict=True)
        for average, weight in pairs:
            kept = average.clone()
            average.copy_(weight)
            weight.copy_(kept)


def _network(trainee: lightning.LightningModule) -> nn.Module:
    assert isinstance(trainee, Trainee)  # noqa: S101 - `fit` takes nothing else
    return trainee.network
