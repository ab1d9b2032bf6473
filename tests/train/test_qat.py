"""compress: calibration from training images, quantizers of the target's kind, and learning from the float network."""

from __future__ import annotations

import csv
import dataclasses
import re
from collections import Counter
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor

from edgexfer.core.errors import ArtifactError, SettingsError
from edgexfer.core.preprocess import pixels as pixels_of
from edgexfer.core.target import CalibrationRecipe, Target, load_calibration, load_target
from edgexfer.train.checkpoint import empty_network
from edgexfer.train.deploy import DeployNetwork
from edgexfer.train.export import export
from edgexfer.train.images.augment import Augmentation
from edgexfer.train.images.split import SplitRow
from edgexfer.train.loop.fit import fit
from edgexfer.train.loop.schedule import Schedule
from edgexfer.train.loop.trainee import Trainee
from edgexfer.train.quantize.calibrate import calibration_rows
from edgexfer.train.quantize.qat import compress
from edgexfer.train.quantize.quantized_graph import quantizers_of
from edgexfer.train.quantize.quantizers import place_quantizers, quantizer_config, restore_quantizers
from tests.train.exports import Exports
from tests.train.pictures import cache_of, stripes

pytestmark = pytest.mark.train

X86, JETSON = load_target("x86-cpu"), load_target("jetson-orin-nano")
ROWS = tuple(
    SplitRow(f"{label}{number}", label, "train" if number % 5 else "val", f"{label}{number}")
    for label, count in (("a", 100), ("b", 40), ("c", 10))
    for number in range(count)
)


def drawn(**recipe: int) -> list[SplitRow]:
    return [ROWS[index] for index in calibration_rows(ROWS, CalibrationRecipe("test", **recipe))]


def test_calibration_draws_as_many_of_each_class_and_from_training_alone() -> None:
    rows = drawn(images=20)
    assert Counter(row.label for row in rows) == {"a": 7, "b": 7, "c": 6}
    assert {row.split for row in rows} == {"train"}
    assert len(set(rows)) == 20


def test_a_small_class_gives_all_it_has_and_no_image_twice() -> None:
    rows = drawn(images=40)
    assert Counter(row.label for row in rows) == {"a": 16, "b": 16, "c": 8}
    everything = drawn(images=1000)
    assert sorted(everything, key=ROWS.index) == [row for row in ROWS if row.split == "train"]


def test_the_seed_decides_which() -> None:
    assert drawn(images=20) == drawn(images=20)
    assert drawn(images=20) != drawn(images=20, seed=1)


@pytest.fixture(scope="module")
def images(exports: Exports) -> Tensor:
    """The training pictures, uint8 [42, 3, 64, 64]."""
    paths = [exports.data / row.path for row in exports.run.rows if row.split == "train"]
    return torch.from_numpy(np.stack([pixels_of(path, exports.run.preprocess) for path in paths])).permute(0, 3, 1, 2)


@pytest.fixture(scope="module", params=[X86, JETSON], ids=["ort", "tensorrt"])
def placed(request: pytest.FixtureRequest, exports: Exports, images: Tensor) -> tuple[Target, DeployNetwork]:
    recipe = load_calibration("balanced-256")
    return request.param, place_quantizers(exports.run.float_network(), images, request.param, recipe).eval()


def test_the_inputs_quantizer_is_exactly_the_pixel(placed: tuple[Target, DeployNetwork]) -> None:
    target, network = placed
    quantizer = next(q for name, q in quantizers_of(network.network).items() if "/" not in name)
    assert not any(parameter.requires_grad for parameter in quantizer.parameters())
    every = network.centre(torch.arange(256).reshape(1, 1, 16, 16).expand(1, 3, 16, 16))
    with torch.no_grad():
        error = (quantizer(every) - every).abs().max() / network.pixel_scale
    # int8 around zero holds no zero point: it takes steps of a little more than one pixel.
    assert error < (1e-3 if target.dialect == "ort" else 0.6)


def test_activations_have_one_scale_and_the_sign_that_the_target_wants(placed: tuple[Target, DeployNetwork]) -> None:
    target, network = placed
    quantizers = quantizers_of(network.network)
    weights = {name: q for name, q in quantizers.items() if re.search(r"(conv2d|linear)/\d+__1\.", name)}
    activations = [q for name, q in quantizers.items() if name not in weights]
    if target.dialect == "ort":
        assert (len(weights), len(activations)) == (50, 60)
    else:  # one for the input of each convolution; none around pool and classifier, nor on a residual branch
        assert (len(weights), len(activations)) == (49, 49)
    assert not any(q.per_channel for q in activations)
    assert all(q.per_channel for q in weights.values())
    assert all(q.num_bits == 8 for q in quantizers.values())
    if target.dialect == "tensorrt":
        assert all(q.signed for q in quantizers.values())
        assert {type(q).__name__ for q in quantizers.values()} == {"SymmetricQuantizer"}


def test_quantizers_are_put_back_as_they_were(
    placed: tuple[Target, DeployNetwork], exports: Exports, images: Tensor
) -> None:
    _, network = placed
    empty = empty_network(exports.run.backbone, 3, exports.run.preprocess)
    restored = restore_quantizers(empty, quantizer_config(network))
    restored.load_state_dict(network.state_dict())
    with torch.no_grad():
        assert torch.equal(restored.eval()(images[:8]), network(images[:8]))


def test_calibration_alone_is_close_to_float(
    placed: tuple[Target, DeployNetwork], exports: Exports, images: Tensor
) -> None:
    _, network = placed
    teacher = exports.run.float_network()
    with torch.no_grad():
        found, wanted = network(images).softmax(1), teacher(images).softmax(1)
    assert (found.argmax(1) == wanted.argmax(1)).all()
    assert (found - wanted).abs().max() < 0.1
    assert not torch.equal(found, wanted)


def test_the_history_begins_with_the_network_right_after_calibration(exports: Exports) -> None:
    for dialect, epochs in (("ort", ["0", "1"]), ("tensorrt", ["0"])):
        checkpoint = exports.quantized(dialect)
        with (checkpoint.folder / "history.csv").open(newline="") as file:
            rows = list(csv.DictReader(file))
        assert [row["epoch"] for row in rows] == epochs
        assert {row["stage"] for row in rows} == {"qat"}
        assert (rows[0]["train_loss"], rows[0]["learning_rate"]) == ("", "0")
        assert checkpoint.manifest["best_epoch"] in (0, int(epochs[-1]))


def test_what_a_quantized_checkpoint_says_of_itself(exports: Exports) -> None:
    for dialect, target in (("ort", X86), ("tensorrt", JETSON)):
        manifest = exports.quantized(dialect).manifest
        assert manifest["precision"] == "int8"
        assert manifest["float_metrics"] == exports.run.manifest["metrics"]
        assert set(manifest["metrics"]) == {"val", "test"}
        record = manifest["quantization"]
        assert (record["dialect"], record["weight_bits"]) == (dialect, 8)
        assert record["recipe"] == dataclasses.asdict(load_calibration(target.calibration))
        assert record["schedule"]["distillation"] > 0
    with pytest.raises(ArtifactError, match="is quantized, expected a float checkpoint"):
        exports.quantized("ort").float_network()


def test_weights_of_7_bits_take_half_the_range_where_products_are_summed(exports: Exports, tmp_path: Path) -> None:
    target = dataclasses.replace(X86, weight_bits=7)
    made = compress(exports.run, target, tmp_path / "seven", epochs=0, device="cpu")
    bundle = export(made, target, tmp_path / "seven.edgx")
    seven, eight = dense_weights(bundle.model), dense_weights(exports.ort.bundle.model)
    assert len(seven) == len(eight) == 34
    # 255 * 64 twice is what 16 bits hold. Depthwise kernels sum in 32 bits, and keep the whole range.
    assert {int(np.abs(weight).max()) for weight in seven} <= {63, 64}
    assert min(int(np.abs(weight).max()) for weight in eight) > 100


def dense_weights(path: Path) -> list[NDArray[np.int32]]:
    """The int8 weights of all layers but the depthwise convolutions, which have one input channel a filter."""
    tensors = [onnx.numpy_helper.to_array(tensor) for tensor in onnx.load(path).graph.initializer]
    return [t.astype(np.int32) for t in tensors if t.dtype == np.int8 and t.ndim > 1 and t.shape[1] > 1]


def test_the_teacher_draws_the_network_towards_its_answers(exports: Exports, images: Tensor, tmp_path: Path) -> None:
    teacher = exports.run.float_network()
    network = place_quantizers(teacher, images, X86, load_calibration("balanced-256"))
    with torch.no_grad():
        network.network.classifier.weight.mul_(0.2)  # type: ignore[union-attr]
    cache = cache_of([stripes(kind, seed) for kind in range(3) for seed in range(16)])
    ids = np.repeat(np.arange(3), 16)
    rows = np.arange(len(ids))
    schedule = Schedule(epochs=2, batch_size=16, learning_rate=3e-4, layer_decay=1.0, distillation=1.0)
    # Labels of no use: what it learns it has from the teacher.
    trainee = Trainee(
        network, cache, np.roll(ids, 5), rows, rows, schedule, Augmentation(mirror=False), teacher=teacher
    )
    before = distance(network, teacher, images)
    fit(trainee, tmp_path, stage="qat", patience=None, device="cpu")
    assert before > 0.1
    assert distance(network, teacher, images) < before / 2


@torch.no_grad()
def distance(network: DeployNetwork, teacher: DeployNetwork, images: Tensor) -> float:
    found, wanted = network.eval()(images).log_softmax(1), teacher(images).log_softmax(1)
    return float((wanted.exp() * (wanted - found)).sum(1).mean())


def test_epochs_below_zero_are_refused(exports: Exports, tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="epochs is -1"):
        compress(exports.run, X86, tmp_path / "x", epochs=-1)
    assert list(tmp_path.iterdir()) == []
