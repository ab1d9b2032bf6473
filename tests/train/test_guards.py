"""What is said after training: negative transfer, overfitting, domain shift; and chance where it is chance."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pytest
import safetensors.torch
import torch
from numpy.typing import NDArray
from scipy.stats import binom

from edgexfer.train.begin import START
from edgexfer.train.domain.domain_shift import DomainShift
from edgexfer.train.guards import chance_of, difference_interval, guards, guards_of, right_answers
from edgexfer.train.loop.fit import COLUMNS, HISTORY
from edgexfer.train.network import head_of
from tests.train.test_strategies import task_of
from tests.train.tiny import CACHE, IDS, VAL

pytestmark = pytest.mark.train


def right(good: int, of: int) -> NDArray[np.bool_]:
    return np.arange(of) < good


def test_a_clear_gain_is_called_better_and_a_clear_loss_negative_transfer() -> None:
    better, worse = guards(
        {"val": right(90, 100), "test": right(60, 100)}, {"val": right(70, 100), "test": right(80, 100)}
    )
    assert better.startswith(
        "fine-tuning: 20 gained and 0 lost of 100 images of val against the frozen features: better"
    )
    assert worse.startswith("negative transfer: 0 gained and 20 lost of 100 images of test")
    assert "p = below 0.001" in worse


def test_differences_that_chance_explains_are_called_so() -> None:
    (one,) = guards({"val": right(21, 30)}, {"val": right(20, 30)})
    assert one.endswith("one image more or less, which is chance")
    (few,) = guards({"val": right(24, 30)}, {"val": right(20, 30)}, before="the network it began with")
    assert "against the network it began with: may be chance (p = 0.12)" in few
    (none,) = guards({"val": right(20, 30)}, {"val": right(20, 30)[::-1].copy()})
    assert none.endswith("10 gained and 10 lost of 30 images of val against the frozen features: no difference")


def test_training_that_was_thrown_away_is_told() -> None:
    (lost,) = guards({"val": right(95, 100)}, tried=(0.7, 0.85, 0.8))
    assert lost.startswith(
        "negative transfer: fine-tuning reached 85.0 % on val in 3 epochs, the frozen features 95.0 %"
    )
    assert lost.endswith("10 images of 100 fewer; what was trained is thrown away")
    (few,) = guards({"val": right(20, 20)}, tried=(0.95,))
    assert "1 image of 20 fewer, which may be chance" in few
    (equal,) = guards({"val": right(19, 20)}, tried=(0.95, 0.95))
    assert equal.startswith("no gain: ")


def test_the_gap_between_training_and_held_out_images_is_given_with_its_interval() -> None:
    (gap,) = guards({"train": right(200, 200), "val": right(70, 100), "test": right(60, 100)})
    assert gap.startswith("overfitting: 100.0 % of training images recognised, 60.0 % of test: +40.0 points (95 %: +30")
    (small,) = guards({"train": right(50, 50), "val": right(9, 10)})
    assert small.startswith("overfitting: none to be seen: ")


def test_the_domain_shift_is_said_and_what_follows_from_it() -> None:
    kept = {"val": right(5, 10)}
    (near,) = guards(kept, shift=DomainShift(0.1, 0.1, 0.1, 32).to_json())
    (far,) = guards(kept, shift=DomainShift(0.31, 0.3, 0.3, 32).to_json())
    assert near == "domain shift 0.10 of 1: the images are like the photographs it was pretrained on"
    assert far.startswith("domain shift 0.31 of 1: the images are far from those photographs; frozen features often")


@pytest.mark.parametrize(("gained", "lost"), [(0, 0), (3, 3), (0, 5), (0, 6), (9, 1), (40, 12)])
def test_the_test_is_mcnemars_exact_one(gained: int, lost: int) -> None:
    n, least = gained + lost, min(gained, lost)
    expected = min(1.0, 2 * float(binom.cdf(least, n, 0.5))) if n else 1.0
    assert chance_of(gained, lost) == pytest.approx(expected)


def test_the_interval_is_the_published_one() -> None:
    # Newcombe 1998, table II, case (a), method 10: 56/70 against 48/80.
    low, high = difference_interval(right(56, 70), right(48, 80))
    assert (round(low, 4), round(high, 4)) == (0.0524, 0.3339)


def test_answers_are_those_of_the_network(tmp_path: Path) -> None:
    task = task_of(tmp_path / "run")
    found = right_answers(task.network, task.prepared, 0)
    with torch.no_grad():
        said = task.network(torch.from_numpy(CACHE[VAL]).permute(0, 3, 1, 2)).argmax(1).numpy()
    np.testing.assert_array_equal(found["val"], said == IDS[VAL])
    assert len(found["train"]) == 24
    assert "test" not in found


@pytest.mark.parametrize("kept_epoch", [0, 2])
def test_a_run_is_judged_by_what_lies_in_its_folder(tmp_path: Path, kept_epoch: int) -> None:
    task = task_of(tmp_path / "run")
    _, head = head_of(task.network.network)
    trained = {name: value.clone() for name, value in task.network.state_dict().items()}
    with torch.no_grad():
        head.bias[0] += 1e6  # the network before training says the same of every image
    (task.folder / START).write_bytes(safetensors.torch.save(task.network.state_dict()))
    task.network.load_state_dict(trained)
    with (task.folder / HISTORY).open("w", newline="") as file:
        writer = csv.DictWriter(file, COLUMNS, restval="0")
        writer.writeheader()
        writer.writerows({"stage": "finetune", "epoch": epoch, "val_top1": 0.5} for epoch in range(3))
    lines = guards_of(task, {"epoch": kept_epoch})
    assert all(torch.equal(value, trained[name]) for name, value in task.network.state_dict().items())
    if kept_epoch:
        assert lines[0].startswith("fine-tuning: 4 gained and 0 lost of 8 images of val against the frozen features")
    else:
        assert "fine-tuning reached 50.0 % on val in 2 epochs" in lines[0]
    assert lines[1].startswith("overfitting: ")


def test_where_nothing_was_trained_nothing_is_compared(tmp_path: Path) -> None:
    (line,) = guards_of(task_of(tmp_path / "run"), {"epoch": 0})
    assert line.startswith("overfitting: ")
