"""Training keeps the best epoch, even the one before the first step; it goes on where it stopped."""

from __future__ import annotations

import csv
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F  # noqa: N812

from edgexfer.train.images.augment import Augmentation, augment
from edgexfer.train.loop.fit import fit
from edgexfer.train.loop.judge import figures
from edgexfer.train.loop.trainee import Trainee
from tests.train.tiny import CACHE, GENTLE, IDS, TRAIN, VAL, cut_off, tiny, trained, trainee_of

pytestmark = pytest.mark.train

COLUMNS = "epoch,stage,train_loss,val_loss,val_top1,val_macro_f1,learning_rate,seconds"


def history(folder: Path) -> list[dict[str, str]]:
    with (folder / "history.csv").open(newline="") as file:
        return list(csv.DictReader(file))


def test_every_epoch_is_recorded_from_the_one_before_the_first_step(tmp_path: Path) -> None:
    network, best = trained(tmp_path)
    assert (tmp_path / "history.csv").read_text().splitlines()[0] == COLUMNS
    rows = history(tmp_path)
    assert [row["epoch"] for row in rows] == ["0", "1", "2", "3"]
    assert {row["stage"] for row in rows} == {"finetune"}
    assert rows[0]["train_loss"] == ""
    assert float(rows[0]["learning_rate"]) == 0
    assert all(float(row["train_loss"]) > 0 for row in rows[1:])
    assert float(rows[-1]["val_loss"]) < float(rows[0]["val_loss"])
    chosen = max(rows, key=lambda row: (float(row["val_top1"]), -float(row["val_loss"])))
    assert best["epoch"] == int(chosen["epoch"])
    found = figures(network, CACHE, IDS, VAL)
    assert found["top1"] == pytest.approx(best["top1"]) == pytest.approx(float(chosen["val_top1"]), abs=1e-5)
    assert np.sum(found["confusion"]) == found["images"] == len(VAL)
    assert not network.training


def test_training_that_ruins_the_network_leaves_what_was_there_before(tmp_path: Path) -> None:
    head_start, _ = trained(tmp_path / "first", replace(GENTLE, epochs=12, learning_rate=1e-2))
    before = {name: value.clone() for name, value in head_start.state_dict().items()}
    reached = figures(head_start, CACHE, IDS, VAL)["top1"]
    assert reached > 0.8
    ruin = replace(GENTLE, epochs=2, learning_rate=10.0)
    best = fit(trainee_of(head_start, ruin), tmp_path / "second", stage="finetune", patience=None, device="cpu")
    assert float(history(tmp_path / "second")[-1]["val_top1"]) < reached
    assert best["epoch"] == 0
    assert all(torch.equal(value, before[name]) for name, value in head_start.state_dict().items())


def test_no_epochs_leave_the_network_as_it_is(tmp_path: Path) -> None:
    network, best = trained(tmp_path, replace(GENTLE, epochs=0))
    assert best["epoch"] == 0
    assert len(history(tmp_path)) == 1
    assert all(map(torch.equal, network.state_dict().values(), tiny().state_dict().values()))


def test_it_ends_early_where_nothing_gets_better(tmp_path: Path) -> None:
    trained(tmp_path, replace(GENTLE, epochs=30, learning_rate=1e-9), patience=2)
    assert [row["epoch"] for row in history(tmp_path)] == ["0", "1", "2", "3"]


@pytest.mark.parametrize(("stage", "epochs", "best"), [("finetune", 5, 5), ("qat", 2, 0)])
def test_a_network_that_first_falls_and_then_climbs_is_given_time_but_for_quantization(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, stage: str, epochs: int, best: int
) -> None:
    reached = iter([0.9, 0.3, 0.4, 0.5, 0.6, 0.95])
    judged = Trainee.on_validation_epoch_end

    def told(self: Trainee) -> None:
        judged(self)
        self.validation["top1"] = next(reached)
        self.log("val_top1", self.validation["top1"])

    monkeypatch.setattr(Trainee, "on_validation_epoch_end", told)
    trainee = trainee_of(tiny(), replace(GENTLE, epochs=5))
    found = fit(trainee, tmp_path, stage=stage, patience=2, device="cpu")
    assert (int(history(tmp_path)[-1]["epoch"]), found["epoch"]) == (epochs, best)


def test_what_patience_has_ended_is_not_trained_on_when_it_is_resumed(tmp_path: Path) -> None:
    hopeless = replace(GENTLE, epochs=30, learning_rate=1e-9)
    trained(tmp_path, hopeless, patience=2)
    before = (tmp_path / "history.csv").read_bytes(), (tmp_path / "best.safetensors").read_bytes()
    trained(tmp_path, replace(hopeless, learning_rate=1e-2), patience=2)
    assert ((tmp_path / "history.csv").read_bytes(), (tmp_path / "best.safetensors").read_bytes()) == before


def test_it_goes_on_where_it_stopped_and_ends_where_it_would_have(tmp_path: Path) -> None:
    whole, best = trained(tmp_path / "whole")
    cut_off(tmp_path / "cut")
    assert [row["epoch"] for row in history(tmp_path / "cut")] == ["0", "1"]
    torch.rand(5)  # whatever happened to the global generator in between must not matter
    resumed, again = trained(tmp_path / "cut")
    assert all(map(torch.equal, resumed.state_dict().values(), whole.state_dict().values()))
    assert again == best
    both = [[{**row, "seconds": ""} for row in history(tmp_path / name)] for name in ("whole", "cut")]
    assert both[0] == both[1]


def test_the_seed_decides_order_and_augmentation(tmp_path: Path) -> None:
    one, _ = trained(tmp_path / "1")
    other, _ = trained(tmp_path / "2", replace(GENTLE, seed=1))
    assert not all(map(torch.equal, one.state_dict().values(), other.state_dict().values()))


def loss_of(trainee: Trainee) -> float:
    trainee.log = lambda *_, **__: None  # type: ignore[method-assign]
    trainee.network.eval()
    return float(trainee.training_step(0, 0).detach())


def test_rare_classes_weigh_more_and_equal_ones_the_same() -> None:
    rare = np.where(np.arange(32) < 27, 0, 1)
    schedule = replace(GENTLE, batch_size=len(TRAIN), label_smoothing=0.0)
    network = tiny()
    plain = trainee_of(network, schedule)
    weighted = trainee_of(network, schedule, ids=rare)
    order = np.random.default_rng([0, 0]).permutation(TRAIN)
    generator = torch.Generator().manual_seed(plain._number("augment", 0, 0))
    pixels = augment(torch.from_numpy(CACHE[order]).permute(0, 3, 1, 2), Augmentation(), generator)
    with torch.no_grad():
        logits = network.eval()(pixels)
    assert loss_of(plain) == pytest.approx(float(F.cross_entropy(logits, torch.from_numpy(IDS[order]))), rel=1e-4)
    counts = np.bincount(rare[TRAIN])
    weights = torch.from_numpy(np.minimum(counts.mean() / counts, 10.0)).float()
    expected = float(F.cross_entropy(logits, torch.from_numpy(rare[order]), weight=weights))
    assert loss_of(weighted) == pytest.approx(expected, rel=1e-4)
    assert weights[1] > 3 * weights[0]


def test_a_class_that_the_images_do_not_show_makes_no_other_one_rare(tmp_path: Path) -> None:
    del tmp_path
    one = np.zeros(32, dtype=np.int64)  # of a network of two classes
    network = tiny()
    with torch.no_grad():
        network.network[-1].bias.copy_(torch.tensor([2.94, 0.0]))  # answers 0.95, as smoothing by 0.1 wants it
        network.network[-1].weight.zero_()
    assert loss_of(trainee_of(network, GENTLE, ids=one)) == pytest.approx(0.199, abs=1e-3)


def test_a_teacher_is_followed_and_no_part_of_the_state() -> None:
    network, teacher = tiny(), tiny()
    alone = trainee_of(network, replace(GENTLE, distillation=1.0), teacher=teacher)
    assert loss_of(alone) == pytest.approx(0.0, abs=1e-6)
    with torch.no_grad():
        teacher.network[-1].bias.add_(torch.tensor([3.0, -3.0]))
    assert loss_of(alone) > 0.1
    assert set(alone.state_dict()) == {f"network.{name}" for name in network.state_dict()}


def test_rates_fall_with_depth_and_biases_do_not_decay() -> None:
    optimizer = trainee_of(tiny(), replace(GENTLE, layer_decay=0.5)).configure_optimizers()["optimizer"]
    peak = {group["initial_lr"] for group in optimizer.param_groups}
    assert max(peak) == GENTLE.learning_rate
    assert min(peak) < 0.2 * GENTLE.learning_rate
    for group in optimizer.param_groups:
        assert all((p.ndim > 1) == (group["weight_decay"] > 0) for p in group["params"])
