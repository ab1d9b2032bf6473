"""The tiles at the top of a checkpoint's page."""

from __future__ import annotations

from edgexfer.gate.report.summary import checkpoint_tiles


def test_the_calibration_error_says_what_it_was_before_the_temperature() -> None:
    judged = {"images": 60, "top1": 0.9, "calibration_error": 0.02}
    record = {"temperature": 0.6, "images": 60, "before": {"test": {"calibration_error": 0.1, "loss": 0.3}}}
    scaled = {tile.name: tile for tile in checkpoint_tiles({"temperature": record}, "test", judged)}
    assert scaled["Calibration error"].value == "2.00 %"
    assert scaled["Calibration error"].note == "on 60 test images; 10.00 % before temperature scaling"
    assert scaled["Top-1"].note == "on 60 test images"
    for manifest in ({}, {"temperature": None}):
        plain = {tile.name: tile.note for tile in checkpoint_tiles(manifest, "test", judged)}
        assert plain["Calibration error"] == "on 60 test images"
    quantized = {"temperature": record, "float_metrics": {"test": {"calibration_error": 0.03}}}
    notes = {tile.name: tile.note for tile in checkpoint_tiles(quantized, "test", judged)}
    assert notes["Calibration error"] == "on 60 test images; float 3.00 %"


def test_the_epoch_kept_says_what_it_is() -> None:
    def note(**manifest: object) -> str:
        return next(tile.note for tile in checkpoint_tiles(manifest, "", {}, {"finetune": 4}) if "kept" in tile.name)

    assert note(best_epoch=2) == "the best on val"
    assert note(best_epoch=0) == "the fitted head on the pretrained network; 4 epochs made it no better"
    assert note(best_epoch=0, parent="ab") == "the network it began with; 4 epochs made it no better"
    adapted = {"adapt": {"adapted_by": "statistics"}}
    assert note(best_epoch=0, strategy_notes=adapted) == "the network with the statistics of the unlabeled images"
    assert note(best_epoch=2, quantization={}) == "the closest to the float network"
