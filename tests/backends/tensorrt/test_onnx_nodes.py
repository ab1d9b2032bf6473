"""Names of nodes read from the protocol buffer agree with what the package onnx reads; nothing makes it fail."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgexfer.backends.tensorrt.onnx_nodes import node_at

NODES = st.lists(st.tuples(st.sampled_from(["Conv", "Relu", "QuantizeLinear"]), st.text(max_size=200)), max_size=6)


def model_of(nodes: list[tuple[str, str]]) -> bytes:
    onnx = pytest.importorskip("onnx", reason="onnx is not installed (pip install 'edgexfer[train]')")
    made = [
        onnx.helper.make_node(operator, [f"in{i}"], [f"out{i}", "second"], name=name, axis=2**40)
        for i, (operator, name) in enumerate(nodes)
    ]
    weight = onnx.numpy_helper.from_array(np.arange(300.0), "w")
    graph = onnx.helper.make_graph(made, "g", [], [], [weight], doc_string="before and after")
    return bytes(onnx.helper.make_model(graph, producer_name="test").SerializeToString())


@given(NODES)
def test_every_node_is_named_as_onnx_names_it(nodes: list[tuple[str, str]]) -> None:
    model = model_of(nodes)
    for number, (operator, name) in enumerate(nodes):
        assert node_at(model, number) == (operator, name or f"out{number}")


@given(NODES, st.integers())
def test_a_number_that_no_node_has(nodes: list[tuple[str, str]], number: int) -> None:
    if not 0 <= number < len(nodes):
        assert node_at(model_of(nodes), number) == ("", "")


@given(st.binary(max_size=200), st.integers(-1, 3))
def test_any_bytes(raw: bytes, number: int) -> None:
    operator, name = node_at(raw, number)
    assert isinstance(operator, str)
    assert isinstance(name, str)


@given(NODES, st.data())
def test_a_file_that_was_cut_off(nodes: list[tuple[str, str]], data: st.DataObject) -> None:
    model = model_of(nodes)
    cut = model[: data.draw(st.integers(0, len(model) - 1))]
    assert node_at(cut, 0) in (("", ""), node_at(model, 0))
