"""What a checkpoint holds, in words, where that is no epoch of its training: summary and report say it alike."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

_ADAPTED = {
    "self-training": "the network after self-training on the unlabeled images",
    "statistics": "the network with the statistics of the unlabeled images",
}


def kept_instead(manifest: Mapping[str, Any], last_epochs: Mapping[str, int]) -> str:
    """Says which network was kept where it is none that training judged best; "" where it is `best_epoch` of them.

    Args:
        manifest: of a checkpoint, see edgexfer/train/checkpoint.py.
        last_epochs: the number of the last epoch of each stage in its `history.csv`.
    """
    changed = "pruning" in manifest or "sparsity" in manifest
    notes = {} if changed else manifest.get("strategy_notes") or {}  # of the network before
    adapted_by = (notes.get("adapt") or {}).get("adapted_by")
    if adapted_by in _ADAPTED:
        return _ADAPTED[adapted_by]
    tries = ["adapting"] if adapted_by else []
    trained = max((last for stage, last in last_epochs.items() if stage != "adapt"), default=0)
    best = manifest.get("best_epoch")
    if best != 0:
        return f"epoch {best} of {trained}; adapting made it no better" if tries else ""
    if trained:
        tries.insert(0, "1 epoch" if trained == 1 else f"{trained} epochs")
    return first_network(manifest) + (f"; {' and '.join(tries)} made it no better" if tries else "")


def first_network(manifest: Mapping[str, Any]) -> str:
    """Names the network before the first step of a checkpoint's training."""
    if manifest.get("quantization") is not None:
        return "the network after calibration"
    if manifest.get("parent") is not None:
        chosen = ((manifest.get("strategy_notes") or {}).get("auto") or manifest.get("settings") or {}).get("strategy")
        return "the network it began with" + (", its head fitted anew" if chosen == "linear-probe" else "")
    if manifest.get("pretrained") == "none":
        return "the fitted head on random weights"
    return "the fitted head on the pretrained network"
