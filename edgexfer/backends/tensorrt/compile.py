"""ONNX file in, serialized engine out: parse, choose types, bound the memory, build."""

from __future__ import annotations

import logging
import time
from typing import Any

from edgexfer.backends.tensorrt import api, cuda
from edgexfer.backends.tensorrt.contract import Tensor, check_contract
from edgexfer.backends.tensorrt.options import Options
from edgexfer.backends.tensorrt.watch import Watch, run_watched
from edgexfer.core.bundle import Bundle
from edgexfer.core.engine_build import Compiled
from edgexfer.core.errors import BackendError
from edgexfer.core.threads import Progress

log = logging.getLogger(__name__)

MIB = 2**20
# Below this TensorRT's own libraries and one small network do not fit beside each other.
LEAST_FREE_MIB = 256
_DOCTOR = "`edgexfer doctor` says what is there"


def compile_engine(
    bundle: Bundle,
    typing: api.Typing,
    options: Options,
    *,
    timing_cache: bytes | None = None,
    progress: Progress | None = None,
) -> Compiled:
    """Builds an engine for GPU 0 from the bundle's chosen candidate.

    Args:
        bundle: whose `model` is built.
        typing: from `api.typing_of`.
        options: of the target.
        timing_cache: of an earlier build on this machine.
        progress: called with (phases done, all phases known so far), from TensorRT's threads.

    Raises:
        BackendError: TensorRT cannot start, refuses the file (the node is named), finds no kernels, or lacks memory.
        ArtifactError: the network does not take pixels and give one probability for each label.
        KeyboardInterrupt: as it was pressed; the builder has stopped.
    """
    import tensorrt as trt

    workspace_bytes = _workspace_bytes(options)
    watch, started = Watch(progress), time.perf_counter()
    with api.collected() as messages:
        builder = start(trt.Builder, messages, trt)
        network = builder.create_network(api.network_bits(trt, typing))
        parser = trt.OnnxParser(network, api.logger_of(trt))
        _parse(parser, bundle, trt)
        pixels = _check_network(network, bundle)
        config = builder.create_builder_config()
        config.set_memory_pool_limit(trt.MemoryPoolType.WORKSPACE, workspace_bytes)
        api.set_builder_flags(trt, config, typing)
        if options.sparse_weights:
            config.set_flag(trt.BuilderFlag.SPARSE_WEIGHTS)
        _use_timing_cache(config, timing_cache)
        profile = builder.create_optimization_profile()
        one, most = (1, *pixels.shape[1:]), (options.max_batch, *pixels.shape[1:])
        profile.set_shape(pixels.name, one, one, most)
        config.add_optimization_profile(profile)
        stoppable = api.watch_build(trt, config, watch)
        messages.errors.clear()
        engine = run_watched(lambda: builder.build_serialized_network(network, config), watch, stoppable=stoppable)
        if engine is None:
            raise _failed(bundle, messages, workspace_bytes, trt)
    return Compiled(bytes(engine), time.perf_counter() - started, _timing_cache_of(config))


def start(factory: Any, messages: api.Messages, trt: Any) -> Any:
    """Returns a Builder or a Runtime, which `factory` is.

    Raises:
        BackendError: TensorRT gives none, as where its libraries do not fit the driver.
    """
    try:
        return factory(api.logger_of(trt))
    except TypeError as error:  # how the bindings say that they were given a null pointer
        if messages.about_memory():
            raise cuda.too_little_memory(messages.first_error(), f"{LEAST_FREE_MIB} MiB free") from error
        raise BackendError(
            f"TensorRT {trt.__version__} cannot start: {messages.first_error() if messages.errors else error}", _DOCTOR
        ) from error


def _workspace_bytes(options: Options) -> int:
    free = cuda.free_bytes()
    if free < LEAST_FREE_MIB * MIB:
        raise cuda.too_little_memory(f"{free // MIB} MiB are free", f"at least {LEAST_FREE_MIB} MiB to build an engine")
    wanted = options.workspace_mib * MIB
    if wanted > free // 2:
        log.info("workspace is %d MiB, half of what is free, instead of %d", free // 2 // MIB, options.workspace_mib)
    return min(wanted, free // 2)


def _parse(parser: Any, bundle: Bundle, trt: Any) -> None:
    model = bundle.read()
    if not parser.parse(model):
        reason = api.parser_error(parser, model) if parser.num_errors else "it does not say why"
        raise BackendError(
            f"TensorRT {trt.__version__} refuses {bundle.model}: {reason}", f"edgexfer lint {bundle.folder}"
        )


def _check_network(network: Any, bundle: Bundle) -> Tensor:
    inputs = [_tensor(network.get_input(index)) for index in range(network.num_inputs)]
    outputs = [_tensor(network.get_output(index)) for index in range(network.num_outputs)]
    return check_contract(bundle, inputs, outputs)[0]


def _tensor(tensor: Any) -> Tensor:
    return Tensor(tensor.name, tensor.dtype.name, tuple(tensor.shape))


def _use_timing_cache(config: Any, kept: bytes | None) -> None:
    for content in (kept, b""):
        cache = None if content is None else config.create_timing_cache(content)
        if cache is not None and config.set_timing_cache(cache, False):
            return
        if content:
            log.warning("the timing cache is of another machine or TensorRT and is made anew")


def _timing_cache_of(config: Any) -> bytes | None:
    cache = config.get_timing_cache()
    return None if cache is None else bytes(cache.serialize())


def _failed(bundle: Bundle, messages: api.Messages, workspace_bytes: int, trt: Any) -> BackendError:
    if messages.about_memory():
        error = cuda.too_little_memory(
            f"{cuda.free_bytes() // MIB} MiB are free now, and {messages.first_error()}",
            f"the workspace of {workspace_bytes // MIB} MiB and the network to fit",
        )
        error.hint = f"set a smaller workspace_mib in the target, or {error.hint}"
        return error
    return BackendError(
        f"TensorRT {trt.__version__} cannot build {bundle.model}: {messages.first_error()}",
        f"edgexfer lint {bundle.folder}",
    )
