"""The same ONNX file with fewer channels: what a narrower network takes, before any such network is trained.

Which channels stay is all the same to the clock, so the first ones do. Quantizers keep their scales.
"""

from __future__ import annotations

from collections.abc import Sequence

from onnx import ModelProto, NodeProto, helper, numpy_helper

from edgexfer.core.errors import EdgexferError
from edgexfer.train.dialects.onnx_graph import QUANTIZERS
from edgexfer.train.prune.cost import Widths
from edgexfer.train.prune.groups import Group

_LAYERS = ("Conv", "Gemm")


def narrow_onnx(model: ModelProto, groups: Sequence[Group], widths: Widths) -> ModelProto:
    """Returns the file with the first channels of each group alone.

    Args:
        model: as `to_onnx` made it of the network that the groups are of.
        groups: all of them.
        widths: how many channels each keeps.

    Raises:
        EdgexferError: a layer of the groups is not in the file.
    """
    narrower = ModelProto()
    narrower.CopyFrom(model)
    file = _File(narrower)
    writes = {name: int(width) for group, width in zip(groups, widths, strict=True) for name in group.writers}
    reads = {name: int(width) for group, width in zip(groups, widths, strict=True) for name in group.readers}
    missing = {*writes, *reads}
    for node in [node for node in narrower.graph.node if node.op_type in _LAYERS]:
        layer = file.layer_of(node)
        missing.discard(layer)
        if layer in reads:
            node.input[1] = file.cut(node.input[1], 1, reads[layer])
        if layer in writes:
            for position, name in enumerate(node.input[1:], 1):
                node.input[position] = file.cut(name, 0, writes[layer])
            for attribute in node.attribute:
                if attribute.name == "group" and attribute.i > 1:
                    attribute.i = writes[layer]
    if missing:
        raise EdgexferError(
            f"layers are not in the ONNX file under their names, such as {min(missing)}",
            "prune by macs= or params= instead",
        )
    return file.written()


class _File:
    """A model under edit; constants that several layers share are cut for each by itself."""

    def __init__(self, model: ModelProto) -> None:
        self.model = model
        self._producers: dict[str, NodeProto] = {name: node for node in model.graph.node for name in node.output}
        self._constants = {tensor.name: tensor for tensor in model.graph.initializer}

    def layer_of(self, node: NodeProto) -> str:
        """Returns the PyTorch name of a layer: its weights' constant is called LAYER.weight, and more after it."""
        name = node.input[1]
        while name in self._producers and self._producers[name].op_type in QUANTIZERS:
            name = self._producers[name].input[0]
        return name.rpartition(".weight")[0]

    def cut(self, name: str, axis: int, width: int) -> str:
        """Cuts a layer's constant, quantized or not, to so many entries along `axis`; returns its name from now on."""
        node = self._producers.get(name)
        if node is None:
            return self._cut_constant(name, axis, width)
        quantized = next((attribute.i for attribute in node.attribute if attribute.name == "axis"), 1)
        node.input[0] = self.cut(node.input[0], axis, width)
        for position, part in enumerate(node.input[1:], 1):  # one scale and zero point a channel, or one for all
            if quantized == axis and len(self._constants[part].dims) == 1:
                node.input[position] = self._cut_constant(part, 0, width)
        return name

    def _cut_constant(self, name: str, axis: int, width: int) -> str:
        value = numpy_helper.to_array(self._constants[name])[(slice(None),) * axis + (slice(width),)]
        own = f"{name} {axis} {width}"
        self._constants[own] = numpy_helper.from_array(value.copy(), own)
        return own

    def written(self) -> ModelProto:
        """Returns the model with the constants that it reads."""
        read = {name for node in self.model.graph.node for name in node.input}
        kept = [tensor for name, tensor in self._constants.items() if name in read]
        graph = self.model.graph
        return helper.make_model(
            helper.make_graph(list(graph.node), graph.name, list(graph.input), list(graph.output), kept),
            opset_imports=list(self.model.opset_import),
            ir_version=self.model.ir_version,
            producer_name=self.model.producer_name,
        )
