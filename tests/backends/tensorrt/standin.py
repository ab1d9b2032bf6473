"""A stand-in for the module `tensorrt`, made for a version from api.json: other names than that version's do not exist.

Its serialized engine holds the ONNX file, and its execution context runs that with ONNX Runtime, from and to
the addresses it was given. It shows that the backend keeps to the API; it knows nothing of kernels and of speed.
"""

from __future__ import annotations

import json
from types import ModuleType
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from tests.backends.tensorrt.extract import API, make_enum, names

if TYPE_CHECKING:
    from tests.backends.tensorrt.machine import Machine

_MAGIC = b"stand-in engine\n"
_ONNX_TYPES = {1: "FLOAT", 2: "UINT8", 3: "INT8", 7: "INT64", 10: "HALF"}
_NUMPY = {"FLOAT": np.float32, "UINT8": np.uint8}


class Strict:
    """Has the names that its class has in the version at hand, and its own behind an underscore."""

    _names: ClassVar[dict[str, str]] = {}

    def __getattribute__(self, name: str) -> Any:
        if not name.startswith("_") and name not in object.__getattribute__(self, "_names"):
            raise AttributeError(f"{type(self).__name__} has no '{name}' in this version")
        return object.__getattribute__(self, name)

    def __setattr__(self, name: str, value: Any) -> None:
        if not name.startswith("_") and self._names.get(name) != "rw":
            raise AttributeError(f"{type(self).__name__}.{name} cannot be set in this version")
        object.__setattr__(self, name, value)


class ILogger(Strict):
    def __init__(self) -> None:
        self._ready = True

    def log(self, severity: Any, msg: str) -> None:
        raise AssertionError(f"to be overridden: {severity} {msg}")


class IProgressMonitor(Strict):
    def __init__(self) -> None:
        self._ready = True


class ITensor(Strict):
    def __init__(self, name: str, dtype: Any, shape: tuple[int, ...]) -> None:
        self._values = {"name": name, "dtype": dtype, "shape": shape}

    name = property(lambda self: self._values["name"])
    dtype = property(lambda self: self._values["dtype"])
    shape = property(lambda self: self._values["shape"])


class IHostMemory(bytes):
    """Bytes that the library owns."""


class ITimingCache(Strict):
    def __init__(self, content: bytes) -> None:
        self._content = content

    def serialize(self) -> IHostMemory:
        return IHostMemory(self._content)


class IOptimizationProfile(Strict):
    def __init__(self) -> None:
        self._shapes: dict[str, list[tuple[int, ...]]] = {}

    def set_shape(self, input: str, min: Any, opt: Any, max: Any) -> None:  # noqa: A002 - TensorRT's names
        self._shapes[input] = [tuple(min), tuple(opt), tuple(max)]


class IBuilderConfig(Strict):
    def __init__(self, machine: Machine, trt: Any) -> None:
        self._machine, self._trt = machine, trt
        self._flags: list[str] = []
        self._pools: dict[str, int] = {}
        self._profiles: list[IOptimizationProfile] = []
        self._cache: ITimingCache | None = None
        self._progress_monitor: Any = None

    def set_flag(self, flag: Any) -> None:
        assert isinstance(flag, self._trt.BuilderFlag)
        self._flags.append(flag.name)

    def set_memory_pool_limit(self, pool: Any, pool_size: int) -> None:
        assert isinstance(pool, self._trt.MemoryPoolType)
        self._pools[pool.name] = pool_size

    def create_timing_cache(self, serialized_timing_cache: bytes) -> ITimingCache:
        return self._trt._make("ITimingCache", serialized_timing_cache)  # type: ignore[no-any-return]

    def set_timing_cache(self, cache: ITimingCache, ignore_mismatch: bool) -> bool:
        assert ignore_mismatch is False
        if cache._content and not cache._content.startswith(_stamp(self._machine)):
            return False
        self._cache = cache
        return True

    def get_timing_cache(self) -> ITimingCache | None:
        return self._cache

    def add_optimization_profile(self, profile: IOptimizationProfile) -> int:
        self._profiles.append(profile)
        return len(self._profiles) - 1

    def _set_progress_monitor(self, monitor: Any) -> None:
        assert monitor._ready
        self._progress_monitor = monitor

    progress_monitor = property(lambda self: self._progress_monitor, _set_progress_monitor)


class INetworkDefinition(Strict):
    def __init__(self, flags: list[str], logger: Any) -> None:
        self._flags, self._logger = flags, logger
        self._model = b""
        self._inputs: list[ITensor] = []
        self._outputs: list[ITensor] = []

    num_inputs = property(lambda self: len(self._inputs))
    num_outputs = property(lambda self: len(self._outputs))

    def get_input(self, index: int) -> ITensor:
        return self._inputs[index]

    def get_output(self, index: int) -> ITensor:
        return self._outputs[index]


class ParserError(Strict):
    def __init__(self, node: int, operator: str, name: str, desc: str) -> None:
        self._told = (node, operator, name, desc)

    def node(self) -> int:
        return self._told[0]

    def node_operator(self) -> str:
        return self._told[1]

    def node_name(self) -> str:
        return self._told[2]

    def desc(self) -> str:
        return self._told[3]


class OnnxParser(Strict):
    def __init__(self, network: INetworkDefinition, logger: Any, *, machine: Machine, trt: Any) -> None:
        self._network, self._logger, self._machine, self._trt = network, logger, machine, trt
        self._errors: list[ParserError] = []

    num_errors = property(lambda self: len(self._errors))

    def get_error(self, index: int) -> ParserError:
        return self._errors[index]

    def parse(self, model: bytes) -> bool:
        import onnx

        try:
            graph = onnx.load_from_string(model).graph
        except Exception:  # noqa: BLE001 - protobuf has a class of its own
            self._errors.append(self._trt._make("ParserError", -1, "", "", "Failed to parse ONNX model from bytes"))
            return False
        if self._machine.refused_node is not None:
            number, desc = self._machine.refused_node
            node = graph.node[number]
            self._logger.log(self._trt.ILogger.Severity.ERROR, f"While parsing node number {number} [{node.op_type}]:")
            self._errors.append(self._trt._make("ParserError", number, node.op_type, node.name, desc))
            return False
        self._network._model = model
        self._network._inputs = [self._tensor(value) for value in graph.input]
        self._network._outputs = [self._tensor(value) for value in graph.output]
        return True

    def _tensor(self, value: Any) -> ITensor:
        kind = value.type.tensor_type
        shape = tuple(dim.dim_value if dim.HasField("dim_value") else -1 for dim in kind.shape.dim)
        dtype = getattr(self._trt.DataType, _ONNX_TYPES[kind.elem_type])
        return self._trt._make("ITensor", value.name, dtype, shape)  # type: ignore[no-any-return]


class Builder(Strict):
    def __init__(self, logger: Any, *, machine: Machine, trt: Any) -> None:
        _start(machine, trt, logger)
        self._logger, self._machine, self._trt = logger, machine, trt

    def create_network(self, flags: int = 0) -> INetworkDefinition:
        kinds = self._trt.NetworkDefinitionCreationFlag
        named = [kind.name for kind in kinds if flags >> int(kind) & 1]
        assert flags == sum(1 << int(kinds[name]) for name in named), "a bit that means nothing in this version"
        if self._machine.version.startswith("8."):
            assert "EXPLICIT_BATCH" in named, "the ONNX parser of TensorRT 8 wants an explicit batch"
        return self._trt._make("INetworkDefinition", named, self._logger)  # type: ignore[no-any-return]

    def create_builder_config(self) -> IBuilderConfig:
        return self._trt._make("IBuilderConfig", self._machine, self._trt)  # type: ignore[no-any-return]

    def create_optimization_profile(self) -> IOptimizationProfile:
        return self._trt._make("IOptimizationProfile")  # type: ignore[no-any-return]

    def build_serialized_network(self, network: INetworkDefinition, config: IBuilderConfig) -> IHostMemory | None:
        machine, severity = self._machine, self._trt.ILogger.Severity
        strong = "STRONGLY_TYPED" in network._flags or machine.version.startswith("11.")
        precisions = set(config._flags) - {"SPARSE_WEIGHTS"}
        assert not (strong and precisions), "a strongly typed network takes no precision flags"
        for text in machine.warnings:
            self._logger.log(severity.WARNING, text)
        if not self._go_through_phases(config):
            self._logger.log(severity.ERROR, "the build was cancelled")
            return None
        if machine.build_error is not None:
            self._logger.log(severity.ERROR, machine.build_error)
            self._logger.log(severity.ERROR, "[builder.cpp] Error Code 2: Internal Error (Assertion engine failed.)")
            return None
        shapes = [profile._shapes for profile in config._profiles]
        record = {"flags": config._flags, "network": network._flags, "pools": config._pools, "shapes": shapes}
        cache = config._cache
        if cache is not None:
            machine.builds.append({**record, "cache": bytes(cache._content)})
            cache._content = _stamp(machine) + b"tactics"
        header = {"stamp": _stamp(machine).decode(), "shapes": shapes, "builds": len(machine.builds)}
        return IHostMemory(_MAGIC + json.dumps(header).encode() + b"\n" + network._model)

    def _go_through_phases(self, config: IBuilderConfig) -> bool:
        monitor = config._progress_monitor
        if monitor is None:
            for _ in range(self._machine.steps):
                if self._machine.on_step is not None:
                    self._machine.on_step()
            return True
        monitor.phase_start("Building Engine", None, 1)
        monitor.phase_start("Tactics", "Building Engine", self._machine.steps)
        for step in range(self._machine.steps):
            if self._machine.on_step is not None:
                self._machine.on_step()
            if not monitor.step_complete("Tactics", step):
                return False
        monitor.phase_finish("Tactics")
        monitor.phase_finish("Building Engine")
        return True


class Runtime(Strict):
    def __init__(self, logger: Any, *, machine: Machine, trt: Any) -> None:
        _start(machine, trt, logger)
        self._logger, self._machine, self._trt = logger, machine, trt

    def deserialize_cuda_engine(self, serialized_engine: bytes) -> ICudaEngine | None:
        header, _, model = serialized_engine.removeprefix(_MAGIC).partition(b"\n")
        if not serialized_engine.startswith(_MAGIC) or json.loads(header)["stamp"] != _stamp(self._machine).decode():
            self._logger.log(self._trt.ILogger.Severity.ERROR, "Serialization assertion stdVersionRead failed.")
            return None
        engine = self._trt._make("ICudaEngine", json.loads(header)["shapes"][0], model, self._machine, self._trt)
        engine._logger = self._logger
        return engine  # type: ignore[no-any-return]


class ICudaEngine(Strict):
    def __init__(self, shapes: dict[str, Any], model: bytes, machine: Machine, trt: Any) -> None:
        network = trt._make("INetworkDefinition", [], None)
        assert OnnxParser.parse(trt._make("OnnxParser", network, None, machine=machine, trt=trt), model)
        self._shapes, self._model, self._machine, self._trt = shapes, model, machine, trt
        self._logger: Any = None
        self._tensors = {tensor.name: tensor for tensor in (*network._outputs, *network._inputs)}
        self._inputs = [tensor.name for tensor in network._inputs]

    num_io_tensors = property(lambda self: len(self._tensors))

    def get_tensor_name(self, index: int) -> str:
        return list(self._tensors)[index]

    def get_tensor_mode(self, name: str) -> Any:
        mode = self._trt.TensorIOMode
        return mode.INPUT if name in self._inputs else mode.OUTPUT

    def get_tensor_dtype(self, name: str) -> Any:
        return self._tensors[name].dtype

    def get_tensor_shape(self, name: str) -> tuple[int, ...]:
        return self._tensors[name].shape  # type: ignore[no-any-return]

    def create_execution_context(self) -> IExecutionContext | None:
        if self._machine.context_error is not None:
            self._logger.log(self._trt.ILogger.Severity.ERROR, self._machine.context_error)
            return None
        return self._trt._make("IExecutionContext", self)  # type: ignore[no-any-return]


class IExecutionContext(Strict):
    def __init__(self, engine: ICudaEngine) -> None:
        import onnxruntime

        settings = onnxruntime.SessionOptions()
        settings.intra_op_num_threads = 1
        self._engine = engine
        self._session = onnxruntime.InferenceSession(engine._model, settings, providers=["CPUExecutionProvider"])
        self._addresses: dict[str, int] = {}
        self._shape: tuple[int, ...] = ()

    def set_tensor_address(self, name: str, memory: int) -> bool:
        assert name in self._engine._tensors
        self._addresses[name] = memory
        return True

    def set_input_shape(self, name: str, shape: tuple[int, ...]) -> bool:
        low, _, high = self._engine._shapes[name]
        self._shape = shape
        return all(a <= b <= c for a, b, c in zip(low, shape, high, strict=True))

    def execute_async_v3(self, stream_handle: int) -> bool:
        machine = self._engine._machine
        assert machine.cuda is not None
        assert stream_handle in machine.cuda.streams
        if machine.execution_error is not None:
            self._engine._logger.log(self._engine._trt.ILogger.Severity.ERROR, machine.execution_error)
            return False
        machine.batches.append(self._shape[0])
        (name,) = self._engine._inputs
        (answer,) = [tensor for tensor in self._engine._tensors if tensor != name]
        dtype = _NUMPY[self._engine.get_tensor_dtype(name).name]
        size = int(np.prod(self._shape)) * np.dtype(dtype).itemsize
        pixels = np.frombuffer(machine.cuda.view(self._addresses[name], size), dtype).reshape(self._shape)
        found = self._session.run([answer], {name: pixels})[0]
        if machine.alter_answer is not None:
            found = machine.alter_answer(found)
        machine.cuda.view(self._addresses[answer], found.nbytes)[:] = found.tobytes()
        return True


_CLASSES = (
    Builder, IBuilderConfig, ICudaEngine, IExecutionContext, ILogger, INetworkDefinition, IOptimizationProfile,
    IProgressMonitor, ITensor, ITimingCache, OnnxParser, ParserError, Runtime,
)  # fmt: skip


def make_tensorrt(machine: Machine) -> ModuleType:
    """Makes the module `tensorrt` of the machine's version."""
    trt: Any = ModuleType("tensorrt")
    trt.__version__ = machine.version
    made: dict[str, Any] = {}
    for kind in _CLASSES:
        allowed = names(kind.__name__, machine.version)
        behaviour = {name for name in vars(kind) if not name.startswith("_")}
        assert behaviour <= set(API["classes"][kind.__name__]), f"{kind.__name__} can what no TensorRT can: {behaviour}"
        if allowed:
            made[kind.__name__] = type(kind.__name__, (kind,), {"_names": allowed})
    for name in API["enums"]:
        if "." not in name:
            setattr(trt, name, make_enum(name, machine.version))
    for name in ("ILogger", "IProgressMonitor"):
        if name in made:
            setattr(trt, name, _open(made[name]))
    trt.ILogger.Severity = make_enum("ILogger.Severity", machine.version)
    trt.Builder = lambda logger: made["Builder"](logger, machine=machine, trt=trt)
    trt.Runtime = lambda logger: made["Runtime"](logger, machine=machine, trt=trt)
    trt.OnnxParser = lambda network, logger: made["OnnxParser"](network, logger, machine=machine, trt=trt)
    trt._make = lambda name, *arguments, **named: made[name](*arguments, **named)
    return trt  # type: ignore[no-any-return]


def _open(kind: type) -> type:
    # What users subclass has names of theirs too.
    return type(
        kind.__name__, (kind,), {"__getattribute__": object.__getattribute__, "__setattr__": object.__setattr__}
    )


def _stamp(machine: Machine) -> bytes:
    return f"{machine.version} on {machine.gpu} {machine.compute_capability};".encode()


def _start(machine: Machine, trt: Any, logger: Any) -> None:
    assert logger._ready, "a logger whose base class was not initialised crashes TensorRT"
    assert machine.logger in (None, logger), "TensorRT keeps the first logger it is given and ignores this one"
    machine.logger = logger
    if machine.builder_error is not None:
        logger.log(trt.ILogger.Severity.ERROR, machine.builder_error)
        raise TypeError("pybind11::init(): factory function returned nullptr")
