"""edgexfer: from a folder of images to a small INT8 classifier that runs on a device and is proven there.

    from edgexfer import load

    with load("signs.edgx") as classifier:
        print(classifier("photo.jpg").label)

The names below are imported when they are first used: `import edgexfer` itself loads nothing.
"""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING, Any

# Unless this is set before they are loaded, ONNX Runtime's wheels send events to their maker and keep an identifier of
# the device in the home folder (microsoft/onnxruntime#29843). A device in the field shall not do so unasked.
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
# OpenVINO and NNCF do the same by the package openvino-telemetry (seen with 2025.2.0), which knows no such variable.
# Both run without it: where edgexfer is imported first, it is as if it were not installed.
sys.modules.setdefault("openvino_telemetry", None)  # type: ignore[arg-type]

if TYPE_CHECKING:
    from edgexfer.core.bundle import Bundle, open_bundle
    from edgexfer.core.errors import EdgexferError
    from edgexfer.core.prediction import Prediction
    from edgexfer.runtime.classifier import Classifier, load
    from edgexfer.runtime.watch.frames import LowScores
    from edgexfer.runtime.watch.watch import Watch

__version__ = "0.1.0"
__all__ = [
    "Bundle",
    "Classifier",
    "EdgexferError",
    "LowScores",
    "Prediction",
    "Watch",
    "__version__",
    "load",
    "open_bundle",
]

_HOMES = {
    "Bundle": "edgexfer.core.bundle",
    "Classifier": "edgexfer.runtime.classifier",
    "EdgexferError": "edgexfer.core.errors",
    "LowScores": "edgexfer.runtime.watch.frames",
    "Prediction": "edgexfer.core.prediction",
    "Watch": "edgexfer.runtime.watch.watch",
    "load": "edgexfer.runtime.classifier",
    "open_bundle": "edgexfer.core.bundle",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'edgexfer' has no attribute '{name}'")
    import importlib  # noqa: PLC0415 - `import edgexfer` stays free of charge

    return getattr(importlib.import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return sorted(__all__)
