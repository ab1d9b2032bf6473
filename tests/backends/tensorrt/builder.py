"""The backend as its tests build with it: its two seams, the releases before 11, and the flags of each precision."""

from __future__ import annotations

from collections.abc import Callable

from edgexfer.backends import Backend, builder_of, find_backend
from edgexfer.core.bundle import Bundle
from tests.backends.tensorrt.extract import VERSIONS
from tests.backends.tensorrt.machine import Machine

BEFORE_11 = [version for version in VERSIONS if not version.startswith("11.")]
FLAGS = {
    "float32": [],
    "float16": ["FP16"],
    "int8": ["FP16", "INT8"],
    "int8-depthwise-float16": ["FP16", "INT8"],
}
Become = Callable[[str], Machine]
BACKEND: Backend = find_backend("tensorrt")
BUILDER = builder_of(BACKEND)
assert BUILDER is not None


def engines_of(bundle: Bundle) -> list[str]:
    return sorted(path.name for path in (bundle.folder / "engines").glob("*"))
