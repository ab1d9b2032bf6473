"""An ONNX file from a stranger: it opens no other file, loads no code and does not loop."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edgexfer.backends import find_backend
from edgexfer.core.bundle import MODEL, open_bundle
from edgexfer.core.errors import ArtifactError, BackendError
from tests.hostile.forge import with_model

onnx = pytest.importorskip("onnx", reason="onnx is not installed (pip install 'edgexfer[train]')")


def changed(folder: Path, change: Callable[[Any], object]) -> Path:
    model = onnx.load(folder / MODEL)
    change(model)
    return with_model(folder, model.SerializeToString())


def outside(tensor: Any, location: str) -> None:
    tensor.ClearField("raw_data")
    tensor.data_location = onnx.TensorProto.EXTERNAL
    held = tensor.external_data.add()
    held.key, held.value = "location", location


@pytest.mark.parametrize("location", ["../secret.bin", "/etc/passwd", "inside.bin", "a/../../secret.bin"])
def test_weights_in_another_file(bundle_folder: Path, location: str) -> None:
    (bundle_folder / "inside.bin").write_bytes(bytes(36))
    (bundle_folder.parent / "secret.bin").write_bytes(bytes(36))
    changed(bundle_folder, lambda model: outside(model.graph.initializer[1], location))
    with pytest.raises(ArtifactError, match="reads other files"):
        open_bundle(bundle_folder)


def test_a_constant_in_another_file(bundle_folder: Path) -> None:
    def change(model: Any) -> None:
        tensor = onnx.numpy_helper.from_array(np.zeros(3, np.float32), "c")
        outside(tensor, "../secret.bin")
        model.graph.node.append(onnx.helper.make_node("Constant", [], ["c"], value=tensor))

    with pytest.raises(ArtifactError, match="reads other files"):
        open_bundle(changed(bundle_folder, change))


def test_sparse_weights_in_another_file(bundle_folder: Path) -> None:
    def change(model: Any) -> None:
        values = onnx.numpy_helper.from_array(np.ones(1, np.float32), "v")
        outside(values, "../secret.bin")
        indices = onnx.numpy_helper.from_array(np.zeros(1, np.int64), "i")
        model.graph.sparse_initializer.append(onnx.helper.make_sparse_tensor(values, indices, [9]))

    with pytest.raises(ArtifactError, match="reads other files"):
        open_bundle(changed(bundle_folder, change))


def test_operators_of_somebody_else(bundle_folder: Path) -> None:
    def change(model: Any) -> None:
        model.graph.node[1].domain = "somebody.else"
        model.opset_import.append(onnx.helper.make_opsetid("somebody.else", 1))

    with pytest.raises(ArtifactError, match="not ONNX's own"):
        open_bundle(changed(bundle_folder, change))


def test_functions_of_its_own(bundle_folder: Path) -> None:
    def change(model: Any) -> None:
        node = onnx.helper.make_node("Relu", ["x"], ["y"])
        opset = [onnx.helper.make_opsetid("", 17)]
        model.functions.append(onnx.helper.make_function("", "Own", ["x"], ["y"], [node], opset))

    with pytest.raises(ArtifactError, match="functions of its own"):
        open_bundle(changed(bundle_folder, change))


@pytest.mark.parametrize("operator", ["Loop", "Scan", "If", "Relu"])
def test_a_graph_inside_a_node_can_run_without_an_end(bundle_folder: Path, operator: str) -> None:
    def change(model: Any) -> None:
        value = onnx.helper.make_tensor_value_info("If", onnx.TensorProto.FLOAT, [])
        body = onnx.helper.make_graph([onnx.helper.make_node("Identity", ["If"], ["o"])], "b", [value], [value])
        model.graph.node.append(onnx.helper.make_node(operator, ["logits"], ["looped"], body=body))

    with pytest.raises(ArtifactError, match=r"without an end|graph inside a node"):
        open_bundle(changed(bundle_folder, change))


def test_names_that_only_sound_like_it(bundle_folder: Path) -> None:
    def change(model: Any) -> None:
        model.graph.node[0].name = "If the location of a Loop or Scan"

    assert open_bundle(changed(bundle_folder, change)).labels == ("a", "b", "c")


@pytest.mark.parametrize("data", [b"", b"ORTM" * 100, b"\x08", b"\xff" * 100_000, b"\x3a\xff\xff\xff\xff\x0f", b"\x0b"])
def test_what_is_no_onnx_file(bundle_folder: Path, data: bytes) -> None:
    with pytest.raises(ArtifactError, match="is no ONNX file"):
        open_bundle(with_model(bundle_folder, data))


def test_a_file_that_ends_early(bundle_folder: Path) -> None:
    data = (bundle_folder / MODEL).read_bytes()
    for size in range(0, len(data), 23):
        with pytest.raises(ArtifactError, match="is no ONNX file"):
            open_bundle(with_model(bundle_folder, data[:size]))


@pytest.mark.openvino
@pytest.mark.parametrize("reader", [2, 0], ids=["a node that reads itself", "a ring of nodes"])
def test_a_graph_that_reads_itself(bundle_folder: Path, reader: int) -> None:
    """OpenVINO's importer never comes back from one; ONNX Runtime says so."""

    def change(model: Any) -> None:
        model.graph.node[reader].input[0] = model.graph.node[2].output[0]

    opened = open_bundle(changed(bundle_folder, change))
    for name, refusal in (("openvino", ArtifactError), ("ort", BackendError)):
        backend = find_backend(name)
        if backend.missing() is None:
            with pytest.raises(refusal):
                backend.open_session(opened, threads=1)


@pytest.mark.openvino
def test_one_name_for_two_values(bundle_folder: Path) -> None:
    def change(model: Any) -> None:
        model.graph.node[1].output[0] = model.graph.node[0].output[0]
        model.graph.node[2].input[0] = model.graph.node[0].output[0]

    opened = open_bundle(changed(bundle_folder, change))
    pytest.importorskip("openvino", reason="openvino is not installed (pip install 'edgexfer[openvino]')")
    with pytest.raises(ArtifactError, match="gives b'float' twice"):
        find_backend("openvino").open_session(opened, threads=1)
