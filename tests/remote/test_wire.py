"""Frames: whatever goes in comes out, in whatever pieces it arrives; and what is no frame is refused."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgexfer.remote.wire import HEADER_BYTES, Decoder, Frame, WireError, encode

_VALUES = st.none() | st.booleans() | st.integers() | st.text() | st.lists(st.text())
_HEADERS = st.dictionaries(st.text().filter(lambda key: key != "size"), _VALUES, max_size=4)
_MESSAGES = st.lists(st.tuples(_HEADERS, st.binary(max_size=300)), max_size=5)


@settings(deadline=None)
@given(messages=_MESSAGES, cuts=st.lists(st.integers(1, 50), min_size=1))
def test_frames_survive_any_division(messages: list[tuple[dict[str, Any], bytes]], cuts: list[int]) -> None:
    data = b"".join(encode(header, payload) for header, payload in messages)
    decoder, found, start, turn = Decoder(), list[Frame](), 0, 0
    while start < len(data):
        end = start + cuts[turn % len(cuts)]
        found += decoder.feed(data[start:end])
        start, turn = end, turn + 1
    decoder.end()
    assert found == [Frame(header, payload) for header, payload in messages]


@settings(deadline=None)
@given(data=st.binary(max_size=200))
def test_noise_is_a_frame_or_refused_but_never_another_error(data: bytes) -> None:
    decoder = Decoder()
    try:
        frames = decoder.feed(data)
        decoder.end()
    except WireError:
        return
    assert sum(len(frame.payload) for frame in frames) <= len(data)


def test_a_name_that_is_not_utf8_travels() -> None:
    name = b"caf\xe9.jpg".decode("utf-8", "surrogateescape")
    assert Decoder().feed(encode({"name": name}))[0].header == {"name": name}


@pytest.mark.parametrize(
    "data",
    [b"[]\n", b"{}\n", b'{"size": -1}\n', b'{"size": true}\n', b'{"size": 1e99}\n', b"\xff\n", b"[" * 9999 + b"\n"],
)
def test_what_is_no_frame_is_refused(data: bytes) -> None:
    with pytest.raises(WireError):
        Decoder().feed(data)


def test_a_line_without_end_is_refused_before_it_fills_the_memory() -> None:
    decoder = Decoder()
    assert decoder.feed(b" " * (HEADER_BYTES - 1)) == []
    with pytest.raises(WireError):
        decoder.feed(b" ")


@pytest.mark.parametrize("cut", [1, 14, 20])
def test_an_end_in_the_middle_is_noticed(cut: int) -> None:
    data = encode({"do": "part"}, b"hello")
    decoder = Decoder()
    assert decoder.feed(data[:-cut]) == []
    with pytest.raises(WireError, match="in the middle"):
        decoder.end()
