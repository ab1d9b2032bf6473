"""Packed integers: exact, deterministic, and never more than their shape says."""

from __future__ import annotations

import base64
import re
import zlib

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays

from edgexfer.core.errors import ArtifactError
from edgexfer.gate.judge.packed import MOST, Packed, pack, unpack

INTEGERS = arrays(np.int64, array_shapes(min_dims=1, max_dims=2, max_side=20))


@given(INTEGERS)
def test_what_is_packed_comes_back(values: np.ndarray) -> None:
    again = unpack(pack(values), "here")
    assert again.dtype == np.int64
    np.testing.assert_array_equal(again, values)
    assert pack(values) == pack(values.copy())


def test_times_of_thousands_of_calls_stay_small() -> None:
    values = (5e6 * np.random.default_rng(0).lognormal(0, 0.05, (300, 10))).astype(np.int64)
    packed = pack(values)
    assert sum(map(len, packed.lines)) < 4.5 * values.size  # 8 bytes each before base64
    assert all(re.fullmatch(r"[A-Za-z0-9+/=]{1,96}", line) for line in packed.lines)


def of(planes: bytes, *, shape: tuple[int, ...] = (1,)) -> Packed:
    return Packed(shape, (base64.b64encode(zlib.compress(planes)).decode(),))


GOOD = pack(np.arange(50, dtype=np.int64))


@pytest.mark.parametrize(
    ("packed", "said"),
    [
        (Packed((50,), ("§",)), "damaged"),
        (Packed((50,), ("AAAA",)), "damaged"),
        (Packed((50,), ()), "damaged"),
        (Packed((50,), (GOOD.lines[0][:-8],)), "damaged"),
        (Packed((49,), GOOD.lines), "does not hold 49"),
        (Packed((51,), GOOD.lines), "does not hold 51"),
        (of(bytes(8) + b"more"), "does not hold 1"),
        (Packed((1,), (base64.b64encode(zlib.compress(bytes(8)) + b"more").decode(),)), "does not hold 1"),
        (Packed((0,), GOOD.lines), "a shape of none"),
        (Packed((-1, -50), GOOD.lines), "a shape of none"),
        (Packed((), GOOD.lines), "a shape of none"),
        (Packed((1, 1, 50), GOOD.lines), "a shape of none"),
        (Packed((1,) * 100, GOOD.lines), "a shape of none"),
        (Packed((MOST + 1,), GOOD.lines), "more than"),
        (Packed((10**30, 10**30), GOOD.lines), "more than"),
    ],
)
def test_what_is_damaged_is_refused(packed: Packed, said: str) -> None:
    with pytest.raises(ArtifactError, match=said) as raised:
        unpack(packed, "here")
    assert raised.value.message.startswith("here")


def test_a_bomb_is_never_decompressed() -> None:
    bomb = base64.b64encode(zlib.compress(bytes(50 << 20), 9)).decode()
    with pytest.raises(ArtifactError, match="does not hold 10"):
        unpack(Packed((10,), (bomb,)), "here")


@given(st.tuples(st.integers(-3, 10**20), st.integers(-3, 60)), st.lists(st.text(max_size=40) | st.just(GOOD.lines[0])))
def test_nothing_else_than_a_clear_refusal(shape: tuple[int, int], lines: list[str]) -> None:
    try:
        values = unpack(Packed(shape, tuple(lines)), "here")
    except ArtifactError:
        return
    assert values.shape == shape
