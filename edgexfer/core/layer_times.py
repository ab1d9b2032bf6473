"""LayerTime: what an engine's own profile says of one layer of a model that it runs."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class LayerTime:
    """One layer as the engine runs it, what it has fused included.

    Attributes:
        name: the engine's; the same in every file of the same layers.
        read: elements of its first input.
        written: elements of its first output.
        samples_ns: nanoseconds of each call.
    """

    name: str
    read: int
    written: int
    samples_ns: tuple[int, ...]
