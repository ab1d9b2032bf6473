"""The engines' own parsers, behind our reader: `python -m tests.hostile.engines --engine ort --mutations 2000`.

Each mutation changes the network of a bundle, with digests that are right again; a child process opens it as a device
would, and runs it once. A child that dies or says nothing for a minute is counted with its seed, and another goes on
behind it. Half of the mutations are of bytes, half put something odd into one place of a network that stays a network.
With --engine ort,openvino one after the other; with --bundle another network than the tiny one.
"""

from __future__ import annotations

import argparse
import random
import resource
import select
import shutil
import signal
import subprocess
import sys
import tempfile
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import onnx

from edgexfer.backends import find_backend
from edgexfer.core.bundle import MODEL, open_bundle
from edgexfer.core.errors import ArtifactError, EdgexferError
from tests.bundles import make_bundle
from tests.hostile.forge import with_model
from tests.hostile.long import mutated

_SILENT_S = 60.0
_MOST_MEMORY_BYTES = 8 << 30
_SIZES = (-1, 0, 1, 2, 3, 7, 255, 2**31 - 1, 2**31, 2**62)
_OPERATORS = ("Conv", "Gemm", "Reshape", "Slice", "Gather", "Pad", "Resize", "Concat", "DequantizeLinear", "Identity")


def odd(data: bytes, dice: random.Random) -> bytes:
    """Puts something odd into one to three places of a network."""
    model = onnx.load_from_string(data)
    graph = model.graph
    for _ in range(dice.randint(1, 3)):
        node, tensor = dice.choice(graph.node), dice.choice(graph.initializer or [onnx.TensorProto()])
        how = dice.randrange(8)
        if how == 0 and tensor.dims:
            tensor.dims[dice.randrange(len(tensor.dims))] = dice.choice(_SIZES)
        elif how == 1:
            tensor.data_type = dice.randrange(24)
        elif how == 2:
            tensor.raw_data = tensor.raw_data[: dice.randrange(len(tensor.raw_data) + 1)]
        elif how == 3:
            node.op_type = dice.choice(_OPERATORS)
        elif how == 4 and node.input:
            node.input[dice.randrange(len(node.input))] = dice.choice(
                [name for other in graph.node for name in (*other.input, *other.output)]
            )
        elif how == 5 and node.attribute:
            _odd_attribute(dice.choice(node.attribute), dice)
        elif how == 6:
            value = dice.choice([*graph.input, *graph.output])
            dim = dice.choice(value.type.tensor_type.shape.dim)
            dim.dim_value = dice.choice(_SIZES)
        else:
            model.opset_import[0].version = dice.choice((0, 1, 7, 13, 17, 21, 99, 2**31))
    return bytes(model.SerializeToString())


def _odd_attribute(attribute: Any, dice: random.Random) -> None:
    if attribute.ints:
        attribute.ints[dice.randrange(len(attribute.ints))] = dice.choice(_SIZES)
    elif attribute.type == onnx.AttributeProto.INT:
        attribute.i = dice.choice(_SIZES)
    else:
        attribute.type = dice.randrange(1, 15)


def attempt(place: Path, engine: str) -> str:
    """Opens and runs what is there; returns what came of it."""
    try:
        opened = open_bundle(place)
    except ArtifactError:
        return "refused by our reader"
    try:
        session = find_backend(engine).open_session(opened, threads=1)
        session.run(np.zeros((1, opened.preprocess.height, opened.preprocess.width, 3), np.uint8))
    except EdgexferError:
        return "refused by the engine"
    except Exception as error:  # noqa: BLE001 - that is what is looked for
        return type(error).__name__
    return "ran"


def work(base: Path, place: Path, engine: str, first: int, end: int) -> None:
    """The child: says each seed before it is tried, and what came of it."""
    resource.setrlimit(resource.RLIMIT_AS, (_MOST_MEMORY_BYTES,) * 2)
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    whole = (base / MODEL).read_bytes()
    for seed in range(first, end):
        dice = random.Random(seed)
        shutil.rmtree(place, ignore_errors=True)
        shutil.copytree(base, place)
        with_model(place, mutated(whole, dice) if dice.random() < 0.5 else odd(whole, dice))
        print(seed, flush=True)
        print(attempt(place, engine), flush=True)


def run(base: Path, folder: Path, engine: str, mutations: int, seed: int) -> Counter[str]:
    """Tries that many and returns how often what came of it."""
    counts, last, end = Counter[str](), seed - 1, seed + mutations
    while last < end - 1:
        words = [sys.executable, "-m", "tests.hostile.engines", "--work", str(base), str(folder / "spoiled.edgx")]
        command = [*words, engine, str(last + 1), str(end)]
        with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, bufsize=0) as child:
            assert child.stdout is not None
            came = ""
            while select.select([child.stdout], [], [], _SILENT_S)[0] and (line := child.stdout.readline()):
                if line.strip().isdigit():
                    last, came = int(line), ""
                else:
                    came = line.decode().strip()
                    counts[f"{engine}: {came}"] += 1
            if child.poll() is None:
                child.kill()
        if not came:
            how = "silent" if child.returncode == -signal.SIGKILL else f"ended by {child.returncode}"
            counts[f"{engine}: {how}"] += 1
            print(f"seed {last}, {engine}: {how}", flush=True)
    return counts


def main() -> int:
    """Runs the command line."""
    if sys.argv[1:2] == ["--work"]:
        base, place, engine, first, end = sys.argv[2:]
        work(Path(base), Path(place), engine, int(first), int(end))
        return 0
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--mutations", type=int, default=2000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--engine", default="ort,openvino")
    parser.add_argument("--bundle", type=Path)
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        base = asked.bundle or make_bundle(Path(name) / "base.edgx")
        for engine in asked.engine.split(","):
            for what, count in sorted(run(base, Path(name), engine, asked.mutations, asked.seed).items()):
                print(f"{count:8}  {what}", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
