"""trtexec: the exact line that builds a bundle's file with TensorRT's own program, for each of its releases.

It serves where edgexfer itself does not run (Python before 3.10: JetPack 5 and older), and whoever wants to see what
TensorRT says without us. The flags differ by release (samples/common/sampleOptions.cpp in NVIDIA/TensorRT):

    8.2     --workspace                                 8.5 on   --memPoolSize
    to 8.5  --buildOnly                                 8.6 on   --skipInference
    to 10   --int8 --fp16: the builder may choose       11       every type is taken from the file; so it is in 10 by
                                                                 --stronglyTyped, for files with float16 in them
    to 10   no CUDA graph, no spinning, with transfers  11       all three the other way round, hence always written out

Lines are to be run in the folder that holds the bundle; the engine is put beside it. No engine made so is
loaded by edgexfer: nothing vouches for it.
"""

from __future__ import annotations

import shlex
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from edgexfer.core.errors import SettingsError
from edgexfer.core.target_checks import release

if TYPE_CHECKING:
    from edgexfer.core.bundle import Bundle
    from edgexfer.core.target import Target

PROGRAM = "/usr/src/tensorrt/bin/trtexec"
"""Where JetPack and TensorRT's Debian packages put it."""
WORKSPACE_MIB = 1024
_OLDEST = (8, 2)
_OWN_RUNTIME = (8, 6)  # the oldest release that edgexfer's own backend builds for
_EXAMPLE_PIXELS = 224
_WARM_UP_MS = 500


@dataclass(frozen=True)
class TrtexecLine:
    """One command and what it serves.

    Attributes:
        versions: the releases of TensorRT that take it.
        precision: of the candidate it builds.
        command: the program and its arguments.
    """

    versions: tuple[str, ...]
    precision: str
    command: tuple[str, ...]

    @property
    def text(self) -> str:
        """The command as it is typed into a shell."""
        return shlex.join(self.command)


def trtexec_command(
    version: str,
    model: str | Path,
    *,
    precision: str,
    height: int,
    width: int,
    float_type: str = "float32",
    workspace_mib: int = WORKSPACE_MIB,
    max_batch: int = 1,
    sparse_weights: bool = False,
    engine: str | Path = "model.engine",
    input_name: str = "pixels",
    measure_seconds: int | None = None,
    program: str = PROGRAM,
) -> list[str]:
    """Returns the command that builds an engine from a bundle's file, and measures it where that is wanted.

    Args:
        version: release of TensorRT, such as "10.3" or "10.3.0.30".
        model: the ONNX file; its input is [N, H, W, 3].
        precision: of the file: "int8", "int8-depthwise-float16", "float16" or "float32".
        height: of the input, in pixels.
        width: of the input, in pixels.
        float_type: "float16" where the types of layers outside INT8 are written into the file.
        workspace_mib: what a layer's kernel may use besides its tensors.
        max_batch: the largest N that the engine takes; it is made for N = 1.
        sparse_weights: whether to try kernels that skip zeros, for weights that are 2:4; of no effect before 8.5.
        engine: where the engine is written; the timing cache is kept beside it.
        input_name: of the network's input.
        measure_seconds: how long to measure after building; None only builds. Images are copied to the GPU and
            probabilities back in each run, as `edgexfer bench` has it.
        program: path of trtexec.

    Raises:
        SettingsError: a release before 8.2, no release at all, or one that takes no types from a file.
    """
    number = _known_release(version)
    workspace = f"--workspace={workspace_mib}" if number < (8, 5) else f"--memPoolSize=workspace:{workspace_mib}"
    command = [
        program,
        f"--onnx={model}",
        f"--saveEngine={engine}",
        f"--timingCacheFile={engine}.timing",
        workspace,
        *_shapes(input_name, height, width, max_batch),
        *_types(number, precision, float_type),
        *(["--sparsity=enable"] if sparse_weights and number >= (8, 5) else []),
    ]
    if measure_seconds is None:
        return [*command, "--buildOnly" if number < (8, 6) else "--skipInference"]
    command += ["--useCudaGraph", "--useSpinWait", f"--warmUp={_WARM_UP_MS}", f"--duration={measure_seconds}"]
    return command if number < (11, 0) else [*command, "--includeDataTransfers"]


def trtexec_lines(bundle: Bundle, version: str | None = None) -> list[TrtexecLine]:
    """Returns the lines for every candidate of a bundle, the shipped one first.

    Args:
        bundle: any whose target names TensorRT; where its manifest has `trtexec_model`, that is the file for it.
        version: of the TensorRT at hand; None for all that the target serves, equal lines put together.

    Raises:
        SettingsError: a release before 8.2, or a bundle that is not for TensorRT.
    """
    target = bundle.target
    if target.backend != "tensorrt":
        raise SettingsError(
            f"{bundle.folder} is made for {target.backend}, not for TensorRT",
            "export it again with --target jetson-orin-nano, or another of `edgexfer targets`",
        )
    name = bundle.folder.resolve().name
    own = bundle.manifest.get("trtexec_model")
    files = {bundle.precision: own} if own else bundle.candidates
    lines: list[TrtexecLine] = []
    for precision, file in files.items():
        lines += _grouped(
            target,
            version,
            precision,
            f"{name}/{file}",
            f"{name.removesuffix('.edgx')}-{precision}.engine",
            (bundle.preprocess.height, bundle.preprocess.width),
        )
    return lines


def example_lines(target: Target) -> list[TrtexecLine]:
    """Returns what the lines of a target look like, for a bundle "signs.edgx" of 224 x 224 pixels."""
    precision = "int8" if target.precision == "auto" else target.precision
    plain = f"candidates/{precision}-float32-pixels.onnx"  # as export names it
    file = plain if target.engine_pixels == "float32" else "model.onnx"
    size = (_EXAMPLE_PIXELS, _EXAMPLE_PIXELS)
    return _grouped(target, None, precision, f"signs.edgx/{file}", f"signs-{precision}.engine", size)


def only_by_trtexec(target: Target) -> bool:
    """Returns whether every engine release that the target serves is older than edgexfer's own backend."""
    versions = target.engine_versions if target.backend == "tensorrt" else ()
    return bool(versions) and all(release(version) < _OWN_RUNTIME for version in versions)


def _grouped(
    target: Target, version: str | None, precision: str, model: str, engine: str, size: tuple[int, int]
) -> list[TrtexecLine]:
    serving: dict[tuple[str, ...], tuple[str, ...]] = {}
    for each in (version,) if version else target.engine_versions:
        command = trtexec_command(
            each,
            model,
            precision=precision,
            height=size[0],
            width=size[1],
            float_type=target.float_type,
            workspace_mib=target.options.get("workspace_mib", WORKSPACE_MIB),
            max_batch=target.options.get("max_batch", 1),
            sparse_weights=target.options.get("sparse_weights", False),
            engine=engine,
        )
        serving[tuple(command)] = (*serving.get(tuple(command), ()), each)
    return [TrtexecLine(versions, precision, command) for command, versions in serving.items()]


def _known_release(version: str) -> tuple[int, int]:
    try:
        number = release(version)
    except ValueError as error:
        raise SettingsError(f"TensorRT's version is {version!r}, expected such as '10.3'") from error
    if number < _OLDEST:
        raise SettingsError(
            f"TensorRT {version} is too old: lines are known from {_OLDEST[0]}.{_OLDEST[1]} on",
            "a Jetson gets it with JetPack 4.6.1 or later",
        )
    return number


def _shapes(name: str, height: int, width: int, max_batch: int) -> list[str]:
    one = f"{name}:1x{height}x{width}x3"
    return [f"--minShapes={one}", f"--optShapes={one}", f"--maxShapes={name}:{max_batch}x{height}x{width}x3"]


def _types(number: tuple[int, int], precision: str, float_type: str) -> list[str]:
    if number >= (11, 0):
        return []
    if float_type == "float16":
        if number < (10, 0):
            raise SettingsError(
                f"TensorRT {number[0]}.{number[1]} chooses types itself, and in this file they are written (float16)",
                "export for a target with float_type = 'float32'",
            )
        return ["--stronglyTyped"]
    return {"float32": [], "float16": ["--fp16"]}.get(precision, ["--int8", "--fp16"])
