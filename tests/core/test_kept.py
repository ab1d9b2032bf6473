"""What a checkpoint is said to hold: whatever it was trained by, in words that are true of it."""

from __future__ import annotations

from typing import Any

import pytest

from edgexfer.core.kept import kept_instead

FROM_RUN = {"parent": "5f" * 32}


def _adapted(by: str) -> dict[str, Any]:
    return {"strategy_notes": {"adapt": {"adapted_by": by}}}


@pytest.mark.parametrize(
    ("manifest", "last_epochs", "said"),
    [
        ({"best_epoch": 2}, {"finetune": 4}, ""),
        ({"best_epoch": 2, **FROM_RUN}, {"update": 4}, ""),
        ({"best_epoch": 0}, {"finetune": 0}, "the fitted head on the pretrained network"),
        (
            {"best_epoch": 0},
            {"finetune": 1},
            "the fitted head on the pretrained network; 1 epoch made it no better",
        ),
        ({"best_epoch": 0, "pretrained": "none"}, {}, "the fitted head on random weights"),
        (
            {"best_epoch": 0, **FROM_RUN},
            {"finetune": 3},
            "the network it began with; 3 epochs made it no better",
        ),
        (
            {"best_epoch": 0, **FROM_RUN, "settings": {"strategy": "linear-probe"}},
            {"finetune": 0},
            "the network it began with, its head fitted anew",
        ),
        (
            {"best_epoch": 0, **FROM_RUN, "quantization": {"dialect": "ort"}},
            {"qat": 4},
            "the network after calibration; 4 epochs made it no better",
        ),
        (
            {"best_epoch": 12, **_adapted("self-training")},
            {"finetune": 4, "adapt": 12},
            "the network after self-training on the unlabeled images",
        ),
        (
            {"best_epoch": 0, **_adapted("statistics")},
            {"finetune": 10, "adapt": 12},
            "the network with the statistics of the unlabeled images",
        ),
        (
            {"best_epoch": 3, **_adapted("nothing")},
            {"finetune": 4, "adapt": 12},
            "epoch 3 of 4; adapting made it no better",
        ),
        (
            {"best_epoch": 0, **FROM_RUN, **_adapted("nothing")},
            {"adapt": 12},
            "the network it began with; adapting made it no better",
        ),
        (
            {"best_epoch": 0, **_adapted("nothing")},
            {"finetune": 4, "adapt": 12},
            "the fitted head on the pretrained network; 4 epochs and adapting made it no better",
        ),
    ],
)
def test_what_was_kept_is_named(manifest: dict[str, Any], last_epochs: dict[str, int], said: str) -> None:
    assert kept_instead(manifest, last_epochs) == said
