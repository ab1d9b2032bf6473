"""Zeros that training itself gives up: NNCF's regularisation-based pruning (Louizos et al. 2018, arXiv:1712.01312).

Each weight has a gate that is open with a probability; gates and weights learn together, to answer as the dense network
does and to leave no more gates open than asked. What NNCF leaves open is near that and not at it, and its gates draw
noise while the network trains. So the order of the gates decides here: those that are the least open close, as many as
were asked for, and the hooks go.
"""

from __future__ import annotations

import copy
import logging
from typing import Any

import torch
from torch import Tensor, nn

from edgexfer.train.deploy import DeployNetwork
from edgexfer.train.images.augment import Augmentation
from edgexfer.train.images.prepared import Prepared
from edgexfer.train.loop.schedule import Schedule
from edgexfer.train.loop.trainee import GRADIENT_CLIP, Trainee
from edgexfer.train.sparse.zeros import weights_of

log = logging.getLogger(__name__)

_GATE_RATE = 0.05  # a gate begins at 4.6, open in 99 of 100 draws, and is closed below 0
_LEAST_STEPS = 150
_WEIGHT = 0.01  # of NNCF's penalty, 144 at the start, beside a distance between answers of less than 1


def apply_regularised(
    network: DeployNetwork,
    teacher: DeployNetwork,
    images: Prepared,
    schedule: Schedule,
    share: float,
    *,
    mirror: bool,
    device: str,
) -> None:
    """Sets to zero what learns least, and leaves the other weights as they have learned beside it.

    Args:
        network: changed in place; on the CPU.
        teacher: the dense network.
        images: train is learned from.
        schedule: of `recovery`: its rate, batch size, seed and at least its epochs.
        share: of all weights of convolutions and linear layers, above 0 and below 1; at least that many become zero.
        mirror: whether training may mirror images.
        device: "cpu" or "cuda".
    """
    from edgexfer.train.quantize.quantizers import quiet_nncf  # noqa: PLC0415

    first = images.cache[images.indices("train")[:1]]
    example = network.centre(torch.from_numpy(first).permute(0, 3, 1, 2))
    with quiet_nncf():
        import nncf  # noqa: PLC0415 - after our module, which sets it up
        from nncf.torch.function_hook.pruning.rb.algo import get_pruned_modules  # noqa: PLC0415
        from nncf.torch.function_hook.pruning.rb.losses import RBLoss  # noqa: PLC0415

        gated = nncf.prune(
            copy.deepcopy(network.network),
            mode=nncf.PruneMode.UNSTRUCTURED_REGULARIZATION_BASED,
            examples_inputs=example,
        )
    gates = {_module_of(name): hook.mask for name, hook in get_pruned_modules(gated).items()}
    trainee = Trainee(
        DeployNetwork(gated, network.pixel_scale, network.pixel_zero),
        images.cache,
        images.class_ids,
        images.indices("train"),
        images.indices("val"),
        schedule,
        Augmentation(mirror=mirror),
        teacher=teacher,
    )
    _learn(trainee, list(gates.values()), RBLoss(gated, share), schedule, device)
    _close(network.network, gated, gates, share)


def _module_of(constant: str) -> str:
    return constant.replace(":", ".").removesuffix(".weight")  # NNCF writes both, by the place that asks


def _learn(trainee: Trainee, gates: list[Tensor], penalty: Any, schedule: Schedule, device: str) -> None:
    batches = len(trainee.train_dataloader())
    steps = max(_LEAST_STEPS, schedule.epochs * batches)
    own = {id(gate) for gate in gates}
    weights = [parameter for parameter in trainee.network.parameters() if id(parameter) not in own]
    wanted = penalty.target_ratio
    with torch.random.fork_rng(devices=(torch.cuda.current_device(),) if device == "cuda" else ()):
        torch.manual_seed(schedule.seed)
        trainee.to(device)
        trainee.network.train()
        optimizer = torch.optim.Adam(
            [{"params": gates, "lr": _GATE_RATE}, {"params": weights, "lr": schedule.learning_rate}]
        )
        for step in range(steps):
            penalty.target_ratio = wanted * min(1.0, 2 * (step + 1) / steps)
            loss = trainee.loss_of(step // batches, step % batches)
            total = loss + _WEIGHT * penalty().to(loss.device)
            optimizer.zero_grad()
            total.backward()
            torch.nn.utils.clip_grad_norm_(weights, GRADIENT_CLIP)
            optimizer.step()
            if step * 4 // steps != (step + 1) * 4 // steps:
                log.info("step %d of %d: %.0f %% closed, loss %.3f", step + 1, steps, 100 * penalty.current_ratio, loss)
    trainee.close_feed()
    trainee.to("cpu")
    trainee.network.eval()


@torch.no_grad()
def _close(network: nn.Module, gated: nn.Module, gates: dict[str, Tensor], share: float) -> None:
    for name, parameter in network.named_parameters():
        parameter.copy_(gated.get_parameter(name))
    every = torch.cat([gate.flatten() for gate in gates.values()])
    kept = torch.ones(len(every), dtype=torch.bool)
    kept[torch.argsort(every, stable=True)[: int(len(every) * share) + 1]] = False
    weights = dict(weights_of(network))
    for (name, gate), part in zip(gates.items(), kept.split([gate.numel() for gate in gates.values()]), strict=True):
        weights[name].mul_(part.view_as(gate))
