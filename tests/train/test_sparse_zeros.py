"""Zeros of a network: the pattern that is chosen, what training leaves of it, and what the linter finds."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from edgexfer.train.dialects.lint import lint
from edgexfer.train.dialects.lint_sparsity import eligible_macs
from edgexfer.train.loop.fit import fit
from edgexfer.train.loop.schedule import Schedule
from edgexfer.train.sparse.masks import apply_magnitude, apply_two_four
from edgexfer.train.sparse.two_four import broken_groups, is_eligible, two_of_four
from edgexfer.train.sparse.zeros import counted_zeros, keep_zeros
from tests.train.lint_parts import Parts, bundle_of, rewrite, tensorrt_parts
from tests.train.tiny import tiny, trainee_of

pytestmark = pytest.mark.train

TWO_FOUR = {"asked": "2:4", "how": "magnitude", "points": []}


def test_the_two_largest_of_four_inputs_stay_for_each_output_and_kernel_position() -> None:
    weights = np.random.default_rng(0).normal(size=(6, 8, 3, 3)).astype(np.float32)
    kept = two_of_four(weights)
    assert kept.sum(axis=1).tolist() == np.full((6, 3, 3), 4).tolist()
    for group in (slice(0, 4), slice(4, 8)):
        left = np.abs(np.where(kept, weights, 0))[2, group, 1, 1]
        assert sorted(left)[2:] == sorted(np.abs(weights[2, group, 1, 1]))[2:]
    assert broken_groups(np.where(kept, weights, 0)) == (0, 6 * 2 * 9)
    assert broken_groups(weights) == (6 * 2 * 9, 6 * 2 * 9)
    # Along outputs or kernel positions it would be another pattern.
    assert broken_groups(np.where(two_of_four(weights.transpose(1, 0, 2, 3)[:, :4]), 1, 1).astype(np.int8))[0] > 0


def test_a_first_layer_and_depthwise_ones_are_left_as_they_are() -> None:
    assert [is_eligible(shape) for shape in ((32, 3, 3, 3), (96, 1, 3, 3), (24, 96, 1, 1), (10, 1280))] == [
        *(False, False, True, True)
    ]
    network = tiny()
    apply_two_four(network.network)
    first, *others = counted_zeros(network.network).values()
    assert first[0] == 0
    assert all(2 * zeros == weights for zeros, weights in others)


class Whole(nn.Module):
    """A network that is no Sequential itself: NNCF hangs its hooks in as one more part, which that would run."""

    def __init__(self, parts: nn.Module) -> None:
        super().__init__()
        self.parts = parts

    def forward(self, pixels: Tensor) -> Tensor:
        return self.parts(pixels)  # type: ignore[no-any-return]


@pytest.mark.parametrize("share", [0.5, 0.9])
def test_at_least_as_many_weights_become_zero_as_asked_for(share: float) -> None:
    network = Whole(tiny().network)
    apply_magnitude(network, torch.zeros(1, 3, 16, 16), share)
    zeros, weights = (sum(counts) for counts in zip(*counted_zeros(network).values(), strict=True))
    assert share * weights <= zeros < share * weights + 2


def test_zeros_stay_and_the_others_learn(tmp_path: Path) -> None:
    network = tiny()
    apply_two_four(network.network)
    before = {name: value.clone() for name, value in network.state_dict().items()}
    keep_zeros(network.network)
    schedule = Schedule(epochs=2, batch_size=8, learning_rate=3e-3, keep_last=True, weight_decay=0.1)
    fit(trainee_of(network, schedule), tmp_path, stage="sparsity", patience=None, device="cpu")
    for name, value in network.state_dict().items():
        if value.ndim > 1:
            assert (value[before[name] == 0] == 0).all()
            assert (value[before[name] != 0] != before[name][before[name] != 0]).any()


def sparse_parts() -> Parts:
    parts = tensorrt_parts()
    for name, weights in parts.constants.items():
        if name.endswith("_w") and is_eligible(weights.shape):
            parts.constants[name] = np.where(two_of_four(weights.astype(np.float32)), weights, 0).astype(weights.dtype)
    return parts


def findings(folder: Path, parts: Parts, record: dict[str, Any] | None, **target: Any) -> list[tuple[str, str, str]]:
    bundle = bundle_of(folder, parts.model(), "tensorrt", **target)
    rewrite(bundle, **({} if record is None else {"sparsity": record}))
    return [(finding.rule, finding.node, finding.message) for finding in lint(bundle)]


def test_a_broken_pattern_is_found_layer_by_layer(tmp_path: Path) -> None:
    assert findings(tmp_path / "good.edgx", sparse_parts(), TWO_FOUR) == []
    parts = sparse_parts()
    parts.constants["last_w"][3, 4:7, 0, 0] = 1  # three of channels 4 to 7
    wrong = (
        "two-four",
        "n_last",
        "found 1 of 64 groups of 4 input channels with more than 2 weights that are not zero, expected none",
    )
    assert findings(tmp_path / "broken.edgx", parts, TWO_FOUR) == [wrong]
    options = {"backend": "tensorrt", "options": {"sparse_weights": True}}
    assert findings(tmp_path / "told.edgx", parts, None, **options) == [wrong]
    assert findings(tmp_path / "dense.edgx", parts, None) == []


def test_what_the_pattern_fits_is_counted_in_layers_and_macs(tmp_path: Path) -> None:
    bundle = bundle_of(tmp_path / "a.edgx", sparse_parts().model(), "tensorrt")
    found = eligible_macs((bundle / "model.onnx").read_bytes())
    assert (found["layers"], found["of"]) == (5, 7)  # neither the first nor the depthwise one
    fitting = 2 * 16 * 16 * 64 + 2 * 16 * 16 + 4 * 16
    assert found["macs_share"] == pytest.approx(fitting / (fitting + 16 * 27 * 64 + 16 * 9 * 64))


def test_a_share_is_counted_over_all_weights(tmp_path: Path) -> None:
    parts = sparse_parts()
    sizes = [value.size for name, value in parts.constants.items() if name.endswith("_w")]
    zeros = [int((value == 0).sum()) for name, value in parts.constants.items() if name.endswith("_w")]
    share = sum(zeros) / sum(sizes)
    assert findings(tmp_path / "a.edgx", parts, {"asked": f"{share - 0.01:.3f}", "points": []}) == []
    [found] = findings(tmp_path / "b.edgx", parts, {"asked": "0.95", "points": []})
    assert found[0] == "sparse-weights"
    assert f"found {sum(zeros)} of {sum(sizes)} weights zero ({share:.3f}), expected 0.95 of them" in found[2]
