"""adapt: unlabeled images of another light bring back what that light cost, and nothing is shipped that hurts."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import nn

from edgexfer.core.errors import DataError, SettingsError
from edgexfer.train.deploy import DeployNetwork
from edgexfer.train.domain.adapt import adapt_to
from edgexfer.train.domain.adaptation_check import (
    Seen,
    Verdict,
    choose,
    judge_with_labels,
    judge_without_labels,
    promised_accuracy,
    shift_by_chance,
)
from edgexfer.train.domain.pseudo_labels import confident
from edgexfer.train.images.augment import Augmentation
from edgexfer.train.images.pixel_cache import PixelCache
from edgexfer.train.images.prepared import Prepared
from edgexfer.train.images.split import SplitRow
from edgexfer.train.loop.judge import probabilities
from edgexfer.train.loop.trackers import Tracking
from edgexfer.train.settings import FinetuneSettings
from edgexfer.train.task import Task
from tests.images import put
from tests.train.pictures import cache_of, png, stripes
from tests.train.tiny import CACHE, IDS, TRAIN, VAL, tiny

pytestmark = pytest.mark.train

NUMBERS = range(100, 140)
KINDS = np.arange(len(NUMBERS)) % 2


def _foggy(picture: NDArray[np.uint8]) -> NDArray[np.uint8]:
    return (picture * 0.25 + 185).astype(np.uint8)


TARGET = [_foggy(stripes(kind, number, side=16)) for kind, number in zip(KINDS, NUMBERS, strict=True)]


@pytest.fixture(scope="module")
def source() -> dict[str, torch.Tensor]:
    network, rows = tiny(), torch.from_numpy(TRAIN)
    pixels, ids = torch.from_numpy(CACHE[np.arange(len(IDS))]).permute(0, 3, 1, 2), torch.from_numpy(IDS)
    optimizer = torch.optim.Adam(network.parameters(), 1e-2)
    for _ in range(40):
        optimizer.zero_grad()
        nn.functional.cross_entropy(network(pixels[rows]), ids[rows], label_smoothing=0.1).backward()
        optimizer.step()
    return network.state_dict()


def _task(
    folder: Path, source: dict[str, torch.Tensor], unlabeled: PixelCache | None, target_val: Path | None = None
) -> Task:
    network = tiny()
    network.load_state_dict(source)
    split = ["val" if row in VAL else "train" for row in range(len(IDS))]
    rows = tuple(SplitRow(f"{row}", "ab"[kind], split[row], f"{row:064x}") for row, kind in enumerate(IDS))
    settings = FinetuneSettings(batch_size=8, learning_rate=1e-3, target_val=target_val and str(target_val))
    return Task(
        network,
        Prepared(("a", "b"), rows, IDS, CACHE, cast("Any", None)),
        TRAIN,
        VAL,
        settings,
        Augmentation(),
        "none",
        "cpu",
        folder,
        Tracking(),
        unlabeled=unlabeled,
    )


def _trained_already(_: Task) -> dict[str, Any]:
    return {"epoch": 3}


def _labelled(root: Path, pictures: list[NDArray[np.uint8]], kinds: NDArray[np.int64]) -> Path:
    for number, (picture, kind) in enumerate(zip(pictures, kinds, strict=True)):
        put(root / "ab"[kind] / f"{number}.png", png(picture))
    return root


def _top1(network: DeployNetwork) -> float:
    fresh = [_foggy(stripes(kind, number, side=16)) for number in range(200, 220) for kind in (0, 1)]
    with cache_of(fresh) as cache:
        answers = probabilities(network, cache, np.arange(len(fresh))).argmax(1).numpy()
    return float((answers == np.arange(len(fresh)) % 2).mean())


def test_unlabeled_images_bring_back_what_another_light_cost(source: dict[str, torch.Tensor], tmp_path: Path) -> None:
    with cache_of(TARGET) as unlabeled:
        task = _task(tmp_path, source, unlabeled)
        lost = _top1(task.network)
        best = adapt_to(task, _trained_already)
    assert lost <= 0.6
    assert _top1(task.network) >= 0.9
    assert task.notes["adapt"]["adapted_by"] in ("self-training", "statistics")
    assert task.notes["adapt"]["judged_by"] == "confidence, class shares and source accuracy"
    assert task.notes["adapt"]["unlabeled_images"] == {"learned_from": 32, "kept_out": 8}
    assert task.notes["adapt"]["layers_restated"] == 3
    assert "unlabeled images promise" in task.notes["adapt"]["said"][0]
    assert [done["pseudo_labels"] > 0 for done in task.notes["adapt"]["rounds"]] == [True, True]
    rows = list(csv.DictReader((tmp_path / "history.csv").read_text().splitlines()))
    assert [row["epoch"] for row in rows] == [str(number) for number in range(len(rows))]
    assert {row["stage"] for row in rows} == {"adapt"}
    assert best["epoch"] in (0, len(rows) - 1)


def test_labelled_target_images_judge_and_refuse_what_hurts(source: dict[str, torch.Tensor], tmp_path: Path) -> None:
    good = _labelled(tmp_path / "good", [_foggy(stripes(k, 300 + i, side=16)) for i, k in enumerate(KINDS)], KINDS)
    # Images that the network knows as they are, with labels that the adapted one would have to get wrong.
    known = [stripes(kind, 400 + i, side=16) for i, kind in enumerate(KINDS)]
    with cache_of(TARGET) as unlabeled:
        task = _task(tmp_path / "one", source, unlabeled, good)
        adapt_to(task, _trained_already)
        figures = task.notes["adapt"]["self_training"]
        assert figures["images"] == 40
        assert figures["gained"] > figures["lost"]
        assert figures["top1_after"] > figures["top1_before"] + 0.3
        assert figures["p_value"] < 0.01

        answers = probabilities(_task(tmp_path, source, unlabeled).network, unlabeled, np.arange(40)).argmax(1)
        as_before = _labelled(tmp_path / "as-before", TARGET, answers.numpy())
        with cache_of(known) as others:
            task = _task(tmp_path / "two", source, others, as_before)
            adapt_to(task, _trained_already)
    assert task.notes["adapt"]["adapted_by"] == "nothing"
    assert "0 were gained" in task.notes["adapt"]["reason"]
    for name, tensor in task.network.state_dict().items():
        assert torch.equal(tensor, source[name])


def test_a_labelled_image_is_never_learned_from(source: dict[str, torch.Tensor], tmp_path: Path) -> None:
    labelled = _labelled(tmp_path / "labelled", TARGET[:35], KINDS[:35])
    with cache_of(TARGET) as unlabeled, pytest.raises(DataError, match="there are 5 unlabeled images"):
        adapt_to(_task(tmp_path, source, unlabeled, labelled), _trained_already)


def test_too_few_images_are_refused_before_the_source_is_trained(
    source: dict[str, torch.Tensor], tmp_path: Path
) -> None:
    trained: list[Task] = []

    def train_source(task: Task) -> dict[str, Any]:
        trained.append(task)
        return {"epoch": 3}

    with cache_of(TARGET[:5]) as unlabeled, pytest.raises(DataError, match="there are 5 unlabeled images"):
        adapt_to(_task(tmp_path, source, unlabeled), train_source)
    assert trained == []


def test_what_is_missing_is_named(source: dict[str, torch.Tensor], tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="needs images of the new domain") as caught:
        adapt_to(_task(tmp_path, source, None), _trained_already)
    assert "--unlabeled" in caught.value.hint
    put(tmp_path / "labelled" / "c" / "1.png", png(TARGET[0]))
    with cache_of(TARGET) as unlabeled, pytest.raises(DataError, match="has the class c, the network knows a, b"):
        adapt_to(_task(tmp_path, source, unlabeled, tmp_path / "labelled"), _trained_already)


def test_pseudo_labels_are_the_surest_of_each_class() -> None:
    answers = np.array([[0.9, 0.1], [0.8, 0.2], [0.7, 0.3], [0.55, 0.45], [0.4, 0.6], [0.45, 0.55]], dtype=np.float32)
    rows, labels = confident(answers, confidence=0.0, share=0.5)
    assert (rows.tolist(), labels.tolist()) == ([0, 1, 4], [0, 0, 1])
    rows, labels = confident(answers, confidence=0.65, share=1.0)
    assert (rows.tolist(), labels.tolist()) == ([0, 1, 2], [0, 0, 0])
    assert not len(confident(answers, confidence=0.95, share=1.0)[0])


def _answers(right: int, wrong: int, sure: float) -> NDArray[np.float32]:
    # Of class 0 are all images; the wrong ones are half sure.
    return np.array([[sure, 1 - sure]] * right + [[0.45, 0.55]] * wrong, dtype=np.float32)


def test_confidence_promises_the_accuracy_that_it_has() -> None:
    ids = np.zeros(10, dtype=np.int64)
    assert promised_accuracy(_answers(8, 2, 0.9), ids, _answers(10, 0, 0.7)) == pytest.approx(0.8 - 0.13)


def test_without_labels_a_collapse_or_lost_source_accuracy_refuses() -> None:
    ids, shares = np.zeros(10, dtype=np.int64), np.array([0.5, 0.5])
    even = np.array([[0.6, 0.4], [0.4, 0.6]] * 5, dtype=np.float32)
    sure = np.array([[0.95, 0.05], [0.05, 0.95]] * 5, dtype=np.float32)
    before = Seen(_answers(9, 1, 0.9), even)
    assert judge_without_labels(before, Seen(_answers(9, 1, 0.9), sure), ids, shares).ship
    collapsed = judge_without_labels(before, Seen(_answers(9, 1, 0.9), _answers(10, 0, 0.95)), ids, shares)
    assert not collapsed.ship
    assert "predicted far more often" in collapsed.reason
    forgetful = judge_without_labels(before, Seen(_answers(6, 4, 0.9), sure), ids, shares)
    assert not forgetful.ship
    assert "accuracy on the source's validation images is lost" in forgetful.reason
    assert not judge_without_labels(before, before, ids, shares).ship


def test_shares_of_a_sample_differ_by_chance_as_much_as_is_said() -> None:
    shares = np.array([0.5, 0.3, 0.15, 0.05])
    drawn = np.random.default_rng(0).multinomial(100, shares, size=4000) / 100
    assert shift_by_chance(shares, 100) == pytest.approx(np.abs(drawn - shares).sum(1).mean() / 2, rel=0.05)


def test_shares_that_chance_explains_hide_no_gain() -> None:
    ids, shares = np.zeros(10, dtype=np.int64), np.array([0.5, 0.5])
    source = _answers(10, 0, 0.9)
    unsure = np.array([[0.88, 0.12]] * 52 + [[0.12, 0.88]] * 48, dtype=np.float32)
    sure = np.array([[0.9, 0.1]] * 53 + [[0.1, 0.9]] * 47, dtype=np.float32)
    found = judge_without_labels(Seen(source, unsure), Seen(source, sure), ids, shares)
    assert found.figures["class_shift_before"] < found.figures["class_shift_after"]
    assert found.figures["class_shift_after"] < found.figures["class_shift_by_chance"]
    assert found.ship


@pytest.mark.parametrize(
    ("statistics", "self_training", "kept", "reason"),
    [
        ((True, 0.8), (True, 0.9), "self-training", "self-training"),
        ((True, 0.9), (True, 0.8), "statistics", "statistics"),
        ((True, 0.8), (True, 0.8), "self-training", "self-training"),
        ((False, 0.9), (True, 0.85), "self-training", "self-training"),
        ((True, 0.8), (False, 0.9), "statistics", "statistics"),
        ((False, 0.9), (False, 0.85), "nothing", "statistics"),
        ((True, 0.8), None, "statistics", "statistics"),
        ((False, 0.8), None, "nothing", "statistics"),
    ],
)
def test_the_best_of_what_may_be_shipped_is_kept(
    statistics: tuple[bool, float], self_training: tuple[bool, float] | None, kept: str, reason: str
) -> None:
    first = Verdict(statistics[0], "statistics", statistics[1], {})
    second = None if self_training is None else Verdict(self_training[0], "self-training", self_training[1], {})
    found, decisive = choose(first, second)
    assert (found, decisive.reason) == (kept, reason)


def test_a_gain_that_may_be_chance_says_so_and_a_draw_is_no_gain() -> None:
    ids = np.zeros(10, dtype=np.int64)
    source = _answers(10, 0, 0.9)
    before, after = Seen(source, _answers(5, 5, 0.9)), Seen(source, _answers(6, 4, 0.9))
    verdict = judge_with_labels(before, after, ids, ids)
    assert verdict.ship
    assert "may be chance (p = 1.00)" in verdict.reason
    assert not judge_with_labels(before, before, ids, ids).ship
