"""What keeps a network from forgetting its earlier task while it learns another: two terms of the loss.

Distillation on the earlier classes' outputs (Learning without Forgetting, Li & Hoiem 2017, equation 2), and L2-SP:
weights are drawn to where they started, not to zero (Xuhong et al. 2018, equation 3).
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor

from edgexfer.train.deploy import DeployNetwork
from edgexfer.train.network import channels_last, head_of

TEMPERATURE = 2.0  # Li & Hoiem 2017, section 3


@dataclass
class KeepEarlier:
    """Adds to the loss what the network forgets of `teacher`; see trainee.ExtraLoss.

    Attributes:
        teacher: the network as it was, in evaluation mode; its classes are the first ones of the learning network.
        distillation: weight of the distance between the two networks' answers on the earlier classes.
        start_pull: weight of half the squared distance of all weights but the classifier's from the teacher's.
    """

    teacher: DeployNetwork
    distillation: float
    start_pull: float

    def __call__(self, network: DeployNetwork, pixels: Tensor, logits: Tensor) -> Tensor:
        """Returns both terms, weighed and summed, for a batch of pixels [N, 3, H, W] and its logits [N, classes]."""
        self.teacher.to(pixels.device)
        with torch.no_grad():
            wanted = self.teacher(channels_last(pixels))
        found = logits[:, : wanted.shape[1]]
        distance = F.kl_div(
            (found / TEMPERATURE).log_softmax(1),
            (wanted / TEMPERATURE).log_softmax(1),
            reduction="batchmean",
            log_target=True,
        )
        loss = self.distillation * TEMPERATURE**2 * distance
        return loss + self.start_pull / 2 * self._squared_distance(network)

    def _squared_distance(self, network: DeployNetwork) -> Tensor:
        # The classifier has rows that the teacher has not; distillation holds the others.
        head_name, _ = head_of(network)
        start = dict(self.teacher.named_parameters())
        distances = [
            (parameter - start[name].detach()).square().sum()
            for name, parameter in network.named_parameters()
            if name.rpartition(".")[0] != head_name
        ]
        return torch.stack(distances).sum()
