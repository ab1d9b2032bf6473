"""From a folder of photographs to a bundle, as a user goes it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from edgexfer.core.target import load_target


def whole_way(data: Path, folder: Path, **settings: Any) -> tuple[Any, Any]:
    """Fine-tunes on `data` and exports for this CPU; returns the checkpoint and what export made."""
    from edgexfer.flow.export import export
    from edgexfer.train.finetune import finetune
    from edgexfer.train.settings import FinetuneSettings

    epochs = settings.pop("qat_epochs", None)
    checkpoint = finetune(data, folder / "run", FinetuneSettings(seed=0, **settings))
    target = load_target("x86-cpu")
    return checkpoint, export(checkpoint.folder, target, folder / "made.edgx", precision="int8", epochs=epochs)
