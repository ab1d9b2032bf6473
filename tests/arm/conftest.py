"""What the emulated CPUs answered: each is started once, and several tests look at what it said."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from numpy.typing import NDArray

from tests.arm.cpus import HASWELL, Cpu
from tests.arm.emulated import run
from tests.arm.extremes import write_cases
from tests.arm.instructions import products_in
from tests.arm.make_sysroot import lacking, place

if TYPE_CHECKING:
    from tests.train.exports import Exports


@dataclass(frozen=True)
class Answers:
    """What one emulated CPU said.

    Attributes:
        arrays: as `answer.py` names them.
        facts: what edgexfer sees of the CPU there.
        products: how many 8-bit instructions of each kind ran; empty on x86.
    """

    arrays: dict[str, NDArray[Any]]
    facts: dict[str, Any]
    products: Counter[str]


@pytest.fixture(scope="session")
def sysroot() -> Path:
    """What `make arm-sysroot` made; skips where it was not."""
    folder = place()
    if reason := lacking(folder):
        pytest.skip(reason)
    return folder


@pytest.fixture(scope="session")
def cases(sysroot: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, NDArray[Any]]]:  # noqa: ARG001
    """The folder of the small networks at their extremes, and each one's exact outcome."""
    folder = tmp_path_factory.mktemp("cases")
    return folder, write_cases(folder)


@pytest.fixture(scope="session")
def bundles(sysroot: Path, exports: Exports, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:  # noqa: ARG001
    """The same network in INT8 with weights of 8 and of 7 bits, and in float; by name of the folder."""
    from edgexfer.core.target import load_target
    from edgexfer.flow import export as flow
    from tests.train.exports import BENCH_SECONDS

    folder = tmp_path_factory.mktemp("bundles")
    run_of_its_own = exports.copy_of_run(folder / "runs")
    made = {"int8": exports.ort.bundle.folder}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(flow, "BENCH_SECONDS", BENCH_SECONDS)
        for name, target, precision in (("int7", "x86-cpu-avx2", "int8"), ("float", "raspberry-pi-4", "float32")):
            made[name] = folder / f"{name}.edgx"
            flow.export(run_of_its_own, load_target(target), made[name], precision=precision, epochs=0, device="cpu")
    return made


@pytest.fixture(scope="session")
def answers_of(
    sysroot: Path,
    cases: tuple[Path, dict[str, NDArray[Any]]],
    bundles: dict[str, Path],
    tmp_path_factory: pytest.TempPathFactory,
) -> Callable[[Cpu], Answers]:
    """Gives what a CPU answers to all cases and bundles; the first call for each CPU takes half a minute."""
    known: dict[str, Answers] = {}

    def answers(cpu: Cpu) -> Answers:
        if cpu.name not in known:
            folder = tmp_path_factory.mktemp(cpu.name)
            log = None if cpu is HASWELL else folder / "translated.log"
            words = ["-m", "tests.arm.answer", str(folder / "out.npz"), str(cases[0]), *map(str, bundles.values())]
            done = run(cpu, sysroot, folder / "own", *words, log=log)
            assert done.returncode == 0, done.stderr
            with np.load(folder / "out.npz") as file:
                arrays = dict(file)
            products = Counter() if log is None else products_in(log)
            if log is not None:
                log.unlink()
            known[cpu.name] = Answers(arrays, json.loads(done.stdout), products)
        return known[cpu.name]

    return answers
