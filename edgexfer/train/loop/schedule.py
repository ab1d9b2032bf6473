"""Schedule: how weights are changed, and how fast from step to step."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

from edgexfer.train.network import DEPTHS

_TURNS_IN_A_RUN = 8  # as long as those before the last one are


@dataclass(frozen=True)
class Schedule:
    """How weights are changed.

    Attributes:
        epochs: passes over the training images, 1 or more.
        batch_size: images per step, of all processes together where several train.
        learning_rate: of the classifier at the peak of the schedule.
        layer_decay: factor on the rate from one depth group to the one before it, 0 to 1 (1: one rate for all);
            discriminative fine-tuning, Howard and Ruder 2018, section 3.2.
        weight_decay: AdamW's, on weights, not on biases.
        label_smoothing: 0 to 1.
        warmup: share of all steps in which the rate rises linearly, before the cosine.
        distillation: weight of the teacher's answers in the loss, 0 to 1 (Hinton et al. 2015).
        ema: decay of the moving average of the weights, below 1; 0 for none, see train/loop/weight_average.py.
        seed: of order and augmentation.
        trainable_groups: how many of the last depth groups (of network.DEPTHS) learn, turn by turn: each turn but the
            last is an eighth of the epochs, one at least. (1, 2, 4, 8) is gradual unfreezing, Howard and Ruder 2018,
            section 3.3. Where there are fewer epochs than turns the first ones are left out.
        keep_last: whether the last epoch is kept and not the best: where validation images cannot tell, since those
            that matter have no labels.
        epoch_steps: an epoch ends after so many, before it has seen all images, and the next draws anew; None for all.
    """

    epochs: int
    batch_size: int = 32
    learning_rate: float = 5e-4
    layer_decay: float = 0.8
    weight_decay: float = 0.05
    label_smoothing: float = 0.1
    warmup: float = 0.1
    distillation: float = 0.0
    ema: float = 0.0
    seed: int = 0
    trainable_groups: tuple[int, ...] = (DEPTHS,)
    keep_last: bool = False
    epoch_steps: int | None = None

    def in_steps(self, steps: int, images: int) -> Schedule:
        """Returns this schedule with so many steps in all: in epochs of equal length, none longer than all images.

        Args:
            steps: wanted; an epoch's share of them is rounded up.
            images: to train on.
        """
        epochs = math.ceil(steps / math.ceil(images / self.batch_size))
        return replace(self, epochs=epochs, epoch_steps=math.ceil(steps / epochs))

    def warmup_steps(self, steps: int) -> int:
        """Returns how many of so many steps in all warm up, 1 or more."""
        return max(1, round(self.warmup * steps))

    def groups_at(self, epoch: int) -> int:
        """Returns how many of the last depth groups learn in epoch number `epoch`, 0-based."""
        turns = self._turns()
        return turns[min(epoch // self._turn_epochs(), len(turns) - 1)]

    def last_turn(self) -> int:
        """Returns the number of the epoch, 0-based, from which on as many depth groups learn as ever will."""
        return (len(self._turns()) - 1) * self._turn_epochs()

    def _turns(self) -> tuple[int, ...]:
        return self.trainable_groups[-max(1, self.epochs) :]

    def _turn_epochs(self) -> int:
        return max(1, self.epochs // _TURNS_IN_A_RUN)


@dataclass(frozen=True)
class WarmupCosine:
    """The rate at a step as a share of its peak: linear warm-up, then a cosine to 0 (Loshchilov and Hutter 2017).

    Attributes:
        steps: in all.
        warmup: of them, 1 or more.
    """

    steps: int
    warmup: int

    def __call__(self, step: int) -> float:
        """Returns the share at step number `step`, 0-based."""
        if step < self.warmup:
            return (step + 1) / self.warmup
        return 0.5 * (1 + math.cos(math.pi * (step - self.warmup) / max(1, self.steps - self.warmup)))
