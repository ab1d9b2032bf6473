"""Engines: what a machine compiled from a bundle's ONNX file, cached in the bundle under `engines/<key>/`.

    engine.bin        the compiled network; executable code, so nothing is loaded that the manifest does not vouch for
    manifest.json     kind "engine": the EngineKey in full, the engine's SHA-256, how long it took to build

The key is the SHA-256 of everything that decides whether an engine fits. `engines/chosen.json` says which
candidate `build` found best on this machine.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class BuiltEngine:
    """An engine that is there now.

    Attributes:
        folder: `engines/<key>/` in the bundle.
        precision: of the candidate it was built from.
        reused: whether it had been built before.
        reason: why it was built, or why the old one serves, in one sentence.
        build_seconds: how long building took, when it was built.
        size_bytes: of the engine file.
    """

    folder: Path
    precision: str
    reused: bool
    reason: str
    build_seconds: float
    size_bytes: int
