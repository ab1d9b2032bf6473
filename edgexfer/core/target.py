"""Target profiles: `targets/<name>.toml`, or any path to such a file, as a frozen Target.

    backend = "ort"                  # = edgexfer/backends/ort.py
    dialect = "ort"                  # how INT8 is written: "ort" (u8 activations) or "tensorrt" (s8, zero point 0)
    precision = "auto"               # "int8", "float32", or "auto": the fastest that holds max_drop
    calibration = "balanced-256"     # = calibration/balanced-256.toml
    ...

A bundle holds a snapshot of its target as JSON, so that a later change of the file never changes it.
"""

from __future__ import annotations

import dataclasses
import logging
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, TypeVar

from edgexfer.core.errors import SettingsError, did_you_mean
from edgexfer.core.target_checks import check_target
from edgexfer.core.toml import from_table, read_toml

Precision = Literal["auto", "int8", "int8-depthwise-float16", "float16", "float32"]
Estimator = Literal["min_max", "mean_min_max", "quantile", "histogram"]
FloatType = Literal["float32", "float16"]
PRECISIONS = ("float32", "float16", "int8-depthwise-float16", "int8")
"""What a network may compute in, the most precise first."""
MOST_THREADS = 1024
"""Of one inference: more than any CPU has, and few enough to be started."""
ALIASES = {"jetson": "jetson-orin-nano"}
"""Names that stand for another profile; whoever is given one is told so (`meaning_of`)."""

_log = logging.getLogger(__name__)

T = TypeVar("T")


@dataclass(frozen=True)
class Fact:
    """Something about the device that its maker or others have published; nothing of it was measured by edgexfer.

    Attributes:
        name: such as "INT8 TOPS (sparse)".
        value: number and unit, or words.
        source: where it is written.
        certainty: "stated" by the source itself, "derived" from it, or "unsure".
    """

    name: str
    value: str
    source: str
    certainty: Literal["stated", "derived", "unsure"] = "stated"


@dataclass(frozen=True)
class Target:
    """One kind of device and what is fast on it.

    Attributes:
        name: the file's name without `.toml`.
        title: one line for people.
        backend: the module under `edgexfer/backends/` that runs the bundle there.
        dialect: how INT8 is written into the ONNX.
        precision: what may be shipped; "auto" ships the fastest that loses at most `max_drop`.
        calibration: name of, or path to, the recipe that chooses calibration images.
        opset: the ONNX operator set version that the device's engine reads.
        weight_bits: 8; or 7 for x86-64 without VNNI, whose products of 8 bits overflow. Arm needs it nowhere.
        max_drop: the largest loss of top-1 against float that is shipped, as a fraction (0.01 = 1 point).
        rivals: other backends that can run the same file; `build` takes one where it is surely faster on the machine.
        float_type: what is written for the layers outside INT8; "float16" for engines that take every type from the
            file (TensorRT 11), "float32" for those that choose (TensorRT up to 10) and for CPUs.
        engine_versions: releases of the engine that the file must be legal for, oldest first, such as ("10.3", "10.7").
        engine_pixels: "float32" where the engine cannot read uint8 (TensorRT before 8.5): a candidate of its own then
            stands beside `model.onnx`, which keeps the contract.
        facts: published figures of the device.
        notes: facts worth knowing, one sentence each, printed by `edgexfer targets NAME`.
        host: what the machine must be, read by `build` and `bench`: machine ("aarch64"), compute_capability ("8.7"),
            boards (beginnings of the device tree's model), power_mode (by name), jetpack (releases).
        options: read by the backend alone.
        gates: limits for `edgexfer gate`.
    """

    name: str
    title: str
    backend: str
    dialect: Literal["ort", "tensorrt"]
    precision: Precision = "auto"
    calibration: str = "balanced-256"
    opset: int = 17
    weight_bits: int = 8
    max_drop: float = 0.01
    rivals: tuple[str, ...] = ()
    float_type: FloatType = "float32"
    engine_versions: tuple[str, ...] = ()
    engine_pixels: Literal["uint8", "float32"] = "uint8"
    facts: tuple[Fact, ...] = ()
    notes: tuple[str, ...] = ()
    host: dict[str, Any] = field(default_factory=dict)
    options: dict[str, Any] = field(default_factory=dict)
    gates: dict[str, Any] = field(default_factory=dict)

    def allows(self, drop: float) -> bool:
        """Whether a loss of top-1 against float on the same images, as a fraction, is within `max_drop`."""
        return drop <= self.max_drop + 1e-9

    def to_json(self) -> dict[str, Any]:
        """Returns the snapshot that a bundle embeds."""
        return dataclasses.asdict(self)


@dataclass(frozen=True)
class CalibrationRecipe:
    """How calibration images are chosen, from the training split alone.

    Attributes:
        name: the file's name without `.toml`.
        images: how many at most; balanced over the classes, 1 or more.
        seed: of the choice.
        estimator: how NNCF's range initialisation sees the samples: "min_max", "mean_min_max", "quantile" or
            "histogram".
    """

    name: str
    images: int = 256
    seed: int = 0
    estimator: Estimator = "mean_min_max"


def load_target(name_or_path: str) -> Target:
    """Reads a target profile by name, alias or path.

    Raises:
        SettingsError: unknown name ("did you mean"), unknown key, a value out of range, or keys that contradict
            each other.
    """
    if meaning := meaning_of(name_or_path):
        _log.info("%s", meaning)
    path = _find(_resolved(name_or_path), "targets", "target")
    target = from_table(Target, {"name": path.stem, **read_toml(path)}, str(path))
    check_target(target, str(path))
    return target


def meaning_of(name_or_path: str) -> str | None:
    """Returns such as "jetson means jetson-orin-nano", for the user; None where the name is a profile's own."""
    resolved = _resolved(name_or_path)
    return None if resolved == name_or_path else f"{name_or_path} means {resolved}"


def load_calibration(name_or_path: str) -> CalibrationRecipe:
    """Reads a calibration recipe by name or path.

    Raises:
        SettingsError: unknown name ("did you mean"), unknown key, or a value out of range.
    """
    path = _find(name_or_path, "calibration", "calibration recipe")
    recipe = from_table(CalibrationRecipe, {"name": path.stem, **read_toml(path)}, str(path))
    if recipe.images < 1:
        raise SettingsError(f"{path}: images is {recipe.images}, expected 1 or more")
    return recipe


def target_from_json(snapshot: dict[str, Any]) -> Target:
    """Makes a Target from the snapshot inside a bundle."""
    return from_table(Target, snapshot, "the bundle's target")


def options_for(target: Target, backend: str, kind: type[T]) -> T:
    """Returns the target's options for one backend as a `kind`; its defaults where the target is made for another.

    Args:
        target: any.
        backend: name of the backend that asks.
        kind: a dataclass with a default for each option.

    Raises:
        SettingsError: an unknown option, or one of a wrong type.
    """
    table = target.options if target.backend == backend else {}
    return from_table(kind, table, f"options of target '{target.name}'")


def target_names() -> list[str]:
    """Returns the names of the profiles that come with edgexfer, sorted."""
    return sorted(path.stem for path in _shipped("targets").glob("*.toml"))


def _resolved(name_or_path: str) -> str:
    # A file that is called so goes before an alias, as it does before a profile.
    return name_or_path if Path(name_or_path).is_file() else ALIASES.get(name_or_path, name_or_path)


def _find(name_or_path: str, folder: str, noun: str) -> Path:
    path = Path(name_or_path)
    if path.suffix == ".toml" or path.is_file():
        return path
    shipped = _shipped(folder) / f"{name_or_path}.toml"
    if not shipped.is_file():
        known = [p.stem for p in _shipped(folder).glob("*.toml")]
        raise SettingsError(
            f"unknown {noun} '{name_or_path}'", f"{did_you_mean(name_or_path, known)}; or a path to a .toml"
        )
    return shipped


def _shipped(folder: str) -> Path:
    # In a wheel the profiles lie inside the package, in a checkout beside it.
    package = Path(__file__).parent.parent
    inside = package / folder
    return inside if inside.is_dir() else package.parent / folder
