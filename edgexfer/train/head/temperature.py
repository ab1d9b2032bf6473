"""Temperature: one number that makes a network's scores mean what they say, fitted on val and folded into the network.

Guo et al., "On Calibration of Modern Neural Networks", ICML 2017, section 4.2: logits are divided by a temperature T
before the softmax. In deploy form the logits leave the last linear layer, so its weights and bias are divided instead:
that is exact, costs the device nothing, and no label changes.

T has the lowest mean negative log likelihood on the validation images plus 2 (ln T)^2 / images: a normal prior on ln T
with a deviation of 1/2. Some hundred images outvote it. A handful that are all right, whose likelihood alone would
send every score to 1, do not (docs/log.md has the figures). T stays between 1/20 and 20 in any case.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.optimize import minimize_scalar
from scipy.special import log_softmax

from edgexfer.core.errors import EdgexferError
from edgexfer.train.deploy import DeployNetwork
from edgexfer.train.images.prepared import Prepared
from edgexfer.train.loop.judge import figures_of, logits
from edgexfer.train.network import head_of

LOWEST, HIGHEST = 1 / 20, 20.0
_PRIOR_DEVIATION = 0.5  # of ln T
_PRECISION = 1e-7  # of ln T


def judge_scaled(
    network: DeployNetwork, prepared: Prepared, *, scale: bool
) -> tuple[dict[str, Any], dict[str, Any] | None]:
    """Scales a float network in place by the temperature that its validation images ask for, and judges it.

    Args:
        network: in deploy form.
        prepared: val fits the temperature; val and test judge.
        scale: False judges the network as it is.

    Returns:
        What `figures_by_split` gives for the scaled network; and the record for the manifest, None without `scale`:
        temperature, images it was fitted on, and {split: {"loss", "calibration_error"}} `before` and `after`.

    Raises:
        EdgexferError: an answer is not a number.
    """
    rows = {split: found for split in ("val", "test") if len(found := prepared.indices(split))}
    given = {split: logits(network, prepared.cache, found) for split, found in rows.items()}
    ids = {split: prepared.class_ids[found] for split, found in rows.items()}
    before = {split: figures_of(given[split].softmax(1), ids[split]) for split in rows}
    if not scale:
        return before, None
    temperature = fit_temperature(given["val"].numpy(), ids["val"])
    fold_temperature(network, temperature)
    after = {split: figures_of((given[split] / temperature).softmax(1), ids[split]) for split in rows}
    record: dict[str, Any] = {"temperature": temperature, "images": len(ids["val"])}
    for name, figures, divisor in (("before", before, 1.0), ("after", after, temperature)):
        record[name] = {
            split: {
                "loss": loss_at(divisor, given[split].numpy(), ids[split]),
                "calibration_error": figures[split]["calibration_error"],
            }
            for split in rows
        }
    return after, record


def fit_temperature(found: NDArray[np.float32], class_ids: NDArray[np.int64]) -> float:
    """Returns the temperature, 1/20 to 20, that makes the softmax of `found / temperature` the most honest.

    The same images give the same temperature. In 1/T the likelihood is convex, so there is one minimum to be found.

    Args:
        found: logits float32 [N, classes]; N is 1 or more.
        class_ids: the true classes, int64 [N].

    Raises:
        EdgexferError: a logit is not a finite number.
    """
    if not np.isfinite(found).all():
        raise EdgexferError(
            "the network's answers to the validation images are not numbers: training went astray",
            "take a smaller --learning-rate",
        )

    def cost(log_temperature: float) -> float:
        prior = (log_temperature / _PRIOR_DEVIATION) ** 2 / 2
        return loss_at(math.exp(log_temperature), found, class_ids) + prior / len(found)

    fitted = minimize_scalar(
        cost, bounds=(math.log(LOWEST), math.log(HIGHEST)), method="bounded", options={"xatol": _PRECISION}
    )
    return math.exp(float(fitted.x))


def loss_at(temperature: float, found: NDArray[np.float32], class_ids: NDArray[np.int64]) -> float:
    """Returns the mean negative log likelihood of the true classes for logits float32 [N, classes], in nats."""
    said = log_softmax(found.astype(np.float64) / temperature, axis=1)
    return -float(said[np.arange(len(class_ids)), class_ids].mean())


@torch.no_grad()
def fold_temperature(network: DeployNetwork, temperature: float) -> None:
    """Divides the float network's logits by `temperature`, in place, by dividing its last layer's weights and bias.

    Multiply by folding `1 / temperature`, where training shall go on with the logits it ended with.
    """
    _, head = head_of(network.network)
    head.weight.div_(temperature)
    if head.bias is not None:
        head.bias.div_(temperature)
