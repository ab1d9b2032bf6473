"""Emulated CPUs with and without dot product, and a PC without VNNI: right sums, and the answers of this machine."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from edgexfer.backends import find_backend
from edgexfer.core.agreement import TOLERANCE, agreement
from edgexfer.core.bundle import open_bundle
from tests.arm.conftest import Answers
from tests.arm.cpus import ARM, CORTEX_A72, CORTEX_A76, HASWELL, MAX, Cpu
from tests.arm.extremes import by_weights

# Two minutes of work, and many on a machine that has other work.
pytestmark = [pytest.mark.arm, pytest.mark.slow, pytest.mark.timeout(3600)]

AnswersOf = Callable[[Cpu], Answers]
Cases = tuple[Path, dict[str, NDArray[Any]]]
EVERY = (*ARM, HASWELL)
DENSE = ("matmul", "conv 1x1", "conv 3x3")
DEPTHWISE = ("depthwise 3x3", "depthwise 5x5")


def named(cpu: Cpu) -> str:
    return cpu.name


def wrong(answers: Answers, cases: Cases, suffix: str = "") -> set[tuple[str, str]]:
    """(operator, weights) whose outcome is not that of exact arithmetic."""
    return {
        (operator, weights)
        for operator, exact in cases[1].items()
        for weights, outcome in by_weights(answers.arrays[operator + suffix]).items()
        if not np.array_equal(outcome, by_weights(exact)[weights])
    }


@pytest.mark.parametrize(
    ("cpu", "model", "isa"),
    [
        (CORTEX_A72, "Cortex-A72", {"asimd"}),
        (CORTEX_A76, "Cortex-A76", {"asimd", "asimddp"}),
        (MAX, "Arm part 0x051", {"asimd", "asimddp", "i8mm", "sve"}),
        (HASWELL, "Intel Core Processor (Haswell)", {"avx2"}),
    ],
    ids=["cortex-a72", "cortex-a76", "max", "Haswell"],
)
def test_edgexfer_sees_the_cpu_that_is_emulated(answers_of: AnswersOf, cpu: Cpu, model: str, isa: set[str]) -> None:
    facts = answers_of(cpu).facts
    assert (facts["cpu"], set(facts["isa"])) == (model, isa)
    assert facts["architecture"] == ("x86_64" if cpu is HASWELL else "aarch64")


@pytest.mark.parametrize("cpu", ARM, ids=named)
def test_each_arm_cpu_takes_kernels_of_its_own(answers_of: AnswersOf, cpu: Cpu) -> None:
    assert set(answers_of(cpu).products) == cpu.kernels


@pytest.mark.parametrize("cpu", ARM, ids=named)
def test_weights_of_8_bits_never_overflow_on_arm(answers_of: AnswersOf, cases: Cases, cpu: Cpu) -> None:
    assert {weights for _, weights in wrong(answers_of(cpu), cases)} <= {"-128 too"}


def test_the_lowest_weight_overflows_on_arm_so_no_bundle_has_it(answers_of: AnswersOf, cases: Cases) -> None:
    everywhere = {(operator, "-128 too") for operator in DEPTHWISE}
    assert wrong(answers_of(CORTEX_A72), cases) == {(operator, "-128 too") for operator in DENSE} | everywhere
    for cpu in (CORTEX_A76, MAX):
        assert wrong(answers_of(cpu), cases) == everywhere


def test_without_vnni_8_bits_overflow_and_7_do_not(answers_of: AnswersOf, cases: Cases) -> None:
    found = answers_of(HASWELL)
    assert wrong(found, cases) == {(operator, weights) for operator in DENSE for weights in ("8 bits", "-128 too")}
    for operator in DENSE:
        exact = by_weights(cases[1][operator])["8 bits"].astype(np.float64)
        assert np.abs(by_weights(found.arrays[operator])["8 bits"] - exact).max() > 0.4 * np.abs(exact).max()
    assert wrong(found, cases, suffix=" exact") == set()


@pytest.mark.parametrize("name", ["int8", "int7", "float"])
@pytest.mark.parametrize("cpu", EVERY, ids=named)
def test_the_reference_images_get_the_answers_of_this_machine(
    answers_of: AnswersOf, bundles: dict[str, Path], cpu: Cpu, name: str
) -> None:
    bundle = open_bundle(bundles[name])
    pixels, promised = bundle.references()
    here = find_backend("ort").open_session(bundle, threads=1).run(pixels)
    arrays = answers_of(cpu).arrays
    for how, images in (("together", len(pixels)), ("alone", 1)):
        found = arrays[f"{bundles[name].name} {how}"]
        assert agreement(found, promised[:images], TOLERANCE[bundle.precision]).holds
        assert np.array_equal(found.argmax(1), here[:images].argmax(1))
        assert np.abs(found - here[:images]).max() < TOLERANCE["float32"]
