"""The reference workload: the same millisecond of arithmetic on every machine, that tells how fast this one is today.

A stored baseline was measured on another day. The workload, measured in turns with the bundle both times, says how
the machine's speed has changed since: a stored time counts in units of it. It is made of what classifying an image is
made of, in the proportions that followed real bundles best (measured on a cloud machine whose neighbours slowed it
down by up to 45 %): integer arithmetic in the first cache, reads at random places in the second, and a stream through
memory beyond it. It runs on the thread that calls it, and needs no engine.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import numpy as np

from edgexfer.gate.measure.turns import Side

WORKLOAD = f"1, numpy {'.'.join(np.__version__.split('.')[:2])}"
"""Names this arithmetic and the kernels that do it; times of workloads with different names do not compare."""

_CACHED = 8192  # int32: 32 KiB an array
_ARITHMETIC_ROUNDS = 60
_TABLE = 1 << 16  # int32: 256 KiB, and an index of 512 KiB
_GATHER_ROUNDS = 5
_STREAMED = 1 << 19  # float32: 2 MiB an array


@contextmanager
def workload(*, clock: Callable[[], int] = time.perf_counter_ns) -> Iterator[Side]:
    """Opens the workload as a side for `turns.Turns`; each opening has memory of its own.

    Args:
        clock: nanoseconds.

    Yields:
        What makes one call of about 1 ms, whatever the index, and returns {"total": its nanoseconds}.
    """
    numbers = np.arange(_CACHED, dtype=np.int32)
    factors, products = numbers[::-1].copy(), np.empty_like(numbers)
    places = np.random.default_rng(0).permutation(_TABLE).astype(np.intp)
    table, gathered = np.arange(_TABLE, dtype=np.int32), np.empty(_TABLE, np.int32)
    stream, step = np.zeros(_STREAMED, np.float32), np.ones(_STREAMED, np.float32)

    def call(index: int) -> dict[str, int]:  # noqa: ARG001 - part of the contract
        start = clock()
        # Integer products wrap around: nothing overflows, and no value makes the arithmetic slower, as tiny floats do.
        for _ in range(_ARITHMETIC_ROUNDS):
            np.multiply(numbers, factors, out=products)
            np.right_shift(products, 3, out=products)
            np.bitwise_xor(products, numbers, out=products)
        for _ in range(_GATHER_ROUNDS):
            np.take(table, places, out=gathered, mode="wrap")
        # Once back and forth, so that the sums stay where they are however many calls are made.
        np.add(stream, step, out=stream)
        np.subtract(stream, step, out=stream)
        return {"total": clock() - start}

    yield call
