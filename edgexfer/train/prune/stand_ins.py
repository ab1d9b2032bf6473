"""Stand-ins of a network at any widths, made before it is trained at them: their time, their size, and the table.

One file is written of the network as it is, in the precision that ships, its quantizers calibrated and not trained; all
narrower ones are cut out of it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from onnx import ModelProto

from edgexfer.backends import LayerTimer
from edgexfer.core.bundle import Bundle
from edgexfer.core.target import Target, load_calibration
from edgexfer.train.checkpoint import Checkpoint
from edgexfer.train.deploy import DeployNetwork
from edgexfer.train.dialects.to_onnx import to_onnx
from edgexfer.train.prune.choose_channels import BLOCK
from edgexfer.train.prune.cost import Cost, Widths
from edgexfer.train.prune.groups import Group
from edgexfer.train.prune.latency_table import drawn_widths, latency_table
from edgexfer.train.prune.narrow_onnx import narrow_onnx
from edgexfer.train.stand_in import save_stand_in

THREADS = 1
CALIBRATING = 16  # images: scales that are a little off take no more time


@dataclass(frozen=True)
class Timed:
    """A narrower network's latency beside the unpruned one's, both measured in turns.

    Attributes:
        ratio: the time of one inference / that of the unpruned network.
        low: lower end of the ratio's 95 % confidence interval.
        high: upper end of it.
        latency_ms: the time of one inference, in milliseconds: the lower quartile, as flow/race.py explains.
        full_ms: the unpruned network's.
    """

    ratio: float
    low: float
    high: float
    latency_ms: float
    full_ms: float


Race = Callable[[Bundle, Bundle], Timed]
"""Times the first bundle against the second, the unpruned one."""
Progress = Callable[[int, int], None]


@dataclass(frozen=True)
class Engine:
    """One of the target's engines on this machine.

    Attributes:
        timer: times single layers.
        race: times whole networks.
        version: such as "onnxruntime 1.31.1".
    """

    timer: LayerTimer
    race: Race
    version: str


@dataclass(frozen=True)
class Engines:
    """Those of the target's engines that are on this machine.

    Attributes:
        precision: what is timed, "int8" or "float32".
        fastest: returns the one that runs a network fastest: what ships will run in it, see flow/rivals.py.
        named: returns the one of this version, None where it is not here.
    """

    precision: str
    fastest: Callable[[Bundle], Engine]
    named: Callable[[str], Engine | None] = lambda _: None


class StandIns:
    """Stand-ins of one network; they lie in a folder of their own.

    Args:
        checkpoint: the unpruned network's.
        network: the unpruned network.
        groups: its groups.
        pixels: uint8 [N, S, S, 3], training images: they calibrate and are timed with.
        target: decides dialect and opset.
        engines: the target's; the one that is fastest with the unpruned network times all others.
        folder: where the bundles lie.
        version: of the engine that has timed so far, and goes on where it is here; None chooses.

    Attributes:
        engine: that one.
        against: what all are timed against; None for the unpruned one.
    """

    def __init__(
        self,
        checkpoint: Checkpoint,
        network: DeployNetwork,
        groups: Sequence[Group],
        pixels: NDArray[np.uint8],
        target: Target,
        engines: Engines,
        folder: Path,
        version: str | None = None,
    ) -> None:
        self._checkpoint, self._groups, self._pixels, self._target = checkpoint, groups, pixels, target
        self._precision, self._folder = engines.precision, folder
        self._model = _whole(checkpoint, network, pixels, target, quantized=engines.precision == "int8")
        self._made: dict[tuple[int, ...], Bundle] = {}
        self.against: Bundle | None = None
        known = None if version is None else engines.named(version)
        self.engine = known or engines.fastest(self.unpruned())

    def table(self, progress: Progress | None = None) -> Cost:
        """Measures the latency table, in microseconds."""
        files = [(widths, self._bundle(widths)) for widths in drawn_widths(self._groups, block=BLOCK)]
        return latency_table(files, self.engine.timer, self._pixels[:1], threads=THREADS, progress=progress)

    def timed(self, widths: Widths) -> Timed:
        """Times the network at these widths against the unpruned one, or what else was given for it."""
        return self.engine.race(self._bundle(widths), self.against or self.unpruned())

    def size_bytes(self, widths: Widths) -> int:
        """Returns the size of the ONNX file at these widths."""
        return self._bundle(widths).model.stat().st_size

    def unpruned(self) -> Bundle:
        """Returns the network without a channel removed."""
        return self._bundle(np.array([group.width for group in self._groups], np.int64))

    def _bundle(self, widths: Widths) -> Bundle:
        key = tuple(int(width) for width in widths)
        if key not in self._made:
            self._made[key] = save_stand_in(
                self._folder / f"stand-in-{len(self._made)}",
                narrow_onnx(self._model, self._groups, widths),
                self._pixels,
                None,
                checkpoint=self._checkpoint,
                target=self._target,
                precision=self._precision,
                provenance={"widths": list(key)},
            )
        return self._made[key]


def _whole(
    checkpoint: Checkpoint, network: DeployNetwork, pixels: NDArray[np.uint8], target: Target, *, quantized: bool
) -> ModelProto:
    if quantized:
        from edgexfer.train.quantize.quantizers import place_quantizers  # noqa: PLC0415 - NNCF, not needed for float

        planes = torch.from_numpy(pixels).permute(0, 3, 1, 2)
        network = place_quantizers(network, planes, target, load_calibration(target.calibration))
    return to_onnx(checkpoint, network.eval(), target, quantized=quantized)
