"""OpenVINO computes a real bundle's INT8 in 8 bits, from the pixels to the classifier, and as ONNX Runtime does."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edgexfer.core.agreement import TOLERANCE, agreement
from edgexfer.core.bundle import Bundle
from edgexfer.core.cpu import saturates
from edgexfer.gate.measure.evaluate import evaluate
from edgexfer.runtime.classifier import load
from tests.train.exports import Exports

pytestmark = [pytest.mark.train, pytest.mark.openvino]
pytest.importorskip("openvino", reason="openvino is not installed (pip install 'edgexfer[openvino]')")


@pytest.fixture
def bundle(exports: Exports) -> Bundle:
    return exports.ort.bundle


def executed(bundle: Bundle, images: int) -> list[tuple[str, str]]:
    """What OpenVINO runs for a batch of so many images: the kind of each operator and what it computes in."""
    with load(bundle, backend="openvino", threads=1) as classifier:
        pixels, _ = bundle.references()
        classifier.probabilities(pixels[:images])
        network = classifier._opened.session._networks[1 if images == 1 else -1]  # type: ignore[attr-defined]
        operators: list[Any] = network._compiled.get_runtime_model().get_ordered_ops()
        told = [operator.get_rt_info() for operator in operators]
        return [(info["layerType"].astype(str), info["runtimePrecision"].astype(str)) for info in told]


@pytest.mark.skipif(saturates(), reason="this CPU has no exact 8-bit products, so OpenVINO computes in float here")
@pytest.mark.parametrize("images", [1, 2])
def test_every_layer_with_weights_runs_in_8_bits(bundle: Bundle, images: int) -> None:
    found = executed(bundle, images)
    weighted = [precision for kind, precision in found if kind in ("Convolution", "FullyConnected", "MatMul")]
    assert len(weighted) == 50  # 49 convolutions, the stem and 16 depthwise ones among them, and the classifier
    assert weighted[0] in ("u8", "i8")  # the stem; i8 where the CPU has AMX
    assert set(weighted[1:]) == {"u8"}
    # What is computed is the softmax alone; reshaping moves nothing.
    floats = [kind for kind, precision in found if precision == "f32" and kind not in ("Const", "Reshape", "Output")]
    assert floats == ["Softmax"]


@pytest.mark.parametrize("images", [1, 16])
def test_answers_are_those_at_export(bundle: Bundle, images: int) -> None:
    pixels, expected = bundle.references()
    with load(bundle, backend="openvino", threads=1) as classifier:
        found = np.concatenate([classifier.probabilities(pixels[i : i + images]) for i in range(0, 16, images)])
    assert agreement(found, expected, TOLERANCE["int8"] / 10).holds


def test_every_image_gets_the_same_class(exports: Exports, bundle: Bundle) -> None:
    ort, openvino = (evaluate(bundle, exports.data, backend=name) for name in ("ort", "openvino"))
    assert [image.predicted for image in openvino.images] == [image.predicted for image in ort.images]
    assert max(abs(a.score - b.score) for a, b in zip(ort.images, openvino.images, strict=True)) < 0.02
    assert not openvino.subject.simulated
    assert openvino.subject.engine.startswith("openvino ")


def test_float_is_not_quantized(exports: Exports, tmp_path: Path) -> None:
    from edgexfer.core.target import load_target
    from edgexfer.flow.export import export

    made = export(exports.run.folder, load_target("x86-cpu"), tmp_path / "float.edgx", precision="float32").bundle
    assert {precision for kind, precision in executed(made, 1) if kind == "Convolution"} == {"f32"}
    pixels, expected = made.references()
    with load(made, backend="openvino", threads=1) as classifier:
        assert np.abs(classifier.probabilities(pixels) - expected).max() < 1e-4
