"""What training goes on from comes back as it was saved, from a file that holds no code and is whole or absent."""

from __future__ import annotations

import json
import math
import os
from collections import OrderedDict, namedtuple
from pathlib import Path
from typing import Any

import pytest
import safetensors.torch
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from edgexfer.core.errors import ArtifactError, EdgexferError
from edgexfer.train.loop.trainer_state import SafetensorsIO, load_state, save_state

pytestmark = pytest.mark.train

DTYPES = [torch.float32, torch.float16, torch.bfloat16, torch.int64, torch.uint8, torch.bool]
plain = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5)
keys = st.text(max_size=4) | st.integers() | st.tuples(st.integers(), st.text(max_size=2)) | st.booleans()


@st.composite
def tensors(draw: st.DrawFn) -> Tensor:
    shape = draw(st.lists(st.integers(0, 3), max_size=3))
    values = torch.arange(math.prod(shape)).reshape(shape).to(draw(st.sampled_from(DTYPES)))
    # Views, strides and gradients occur in a training's state.
    return draw(st.sampled_from([values, values.T if values.ndim == 2 else values, values[:1] if shape else values]))


states = st.recursive(
    plain | tensors(),
    lambda inner: (
        st.lists(inner, max_size=4) | st.lists(inner, max_size=3).map(tuple) | st.dictionaries(keys, inner, max_size=4)
    ),
    max_leaves=20,
)


def same(one: Any, other: Any) -> bool:
    if type(one) is not type(other):
        return False
    if isinstance(one, Tensor):
        return one.dtype == other.dtype and one.shape == other.shape and torch.equal(one, other)
    if isinstance(one, dict):
        return list(one) == list(other) and all(same(one[key], other[key]) for key in one)
    if isinstance(one, (list, tuple)):
        return len(one) == len(other) and all(map(same, one, other))
    return bool(one == other) or (isinstance(one, float) and math.isnan(one) and math.isnan(other))


@given(states)
@settings(deadline=None, max_examples=150)
def test_nested_states_come_back(tmp_path_factory: pytest.TempPathFactory, state: Any) -> None:
    path = tmp_path_factory.mktemp("state") / "last.safetensors"
    save_state(state, path)
    assert same(load_state(path), state)


def test_kinds_of_dicts_and_tuples_become_plain_ones(tmp_path: Path) -> None:
    point = namedtuple("point", "x y")  # noqa: PYI024 - untyped on purpose
    state = {"size": torch.zeros(2, 3).shape, "point": point(1, 2), "ordered": OrderedDict(a=1)}
    save_state(state, tmp_path / "s")
    assert same(load_state(tmp_path / "s"), {"size": (2, 3), "point": (1, 2), "ordered": {"a": 1}})


def test_tensors_that_share_memory_are_saved_apart(tmp_path: Path) -> None:
    weight = torch.nn.Parameter(torch.arange(6.0))
    save_state({"a": weight, "b": weight[:3]}, tmp_path / "s")
    loaded = load_state(tmp_path / "s")
    loaded["a"][0] = 9
    assert loaded["b"].tolist() == [0, 1, 2]


@pytest.mark.parametrize("value", [object(), {1, 2}, b"bytes", Path("x"), print, torch.float32])
def test_foreign_values_are_refused(tmp_path: Path, value: object) -> None:
    with pytest.raises(TypeError, match=type(value).__name__):
        save_state({"deep": [1, (value,)]}, tmp_path / "s")
    assert list(tmp_path.iterdir()) == []


@pytest.fixture
def saved(tmp_path: Path) -> Path:
    path = tmp_path / "trainer" / "last.safetensors"
    SafetensorsIO().save_checkpoint({"epoch": 3, "w": torch.ones(20)}, path)
    return path


def test_lightning_saves_loads_and_removes(saved: Path) -> None:
    assert SafetensorsIO().load_checkpoint(str(saved))["epoch"] == 3
    SafetensorsIO().remove_checkpoint(saved)
    SafetensorsIO().remove_checkpoint(saved)
    assert not saved.exists()


def test_a_damaged_or_foreign_file_is_named(saved: Path) -> None:
    whole = saved.read_bytes()
    for length in (0, 4, 40, len(whole) - 1):
        saved.write_bytes(whole[:length])
        with pytest.raises(ArtifactError, match=r"last\.safetensors is no training state") as caught:
            load_state(saved)
        assert "--overwrite" in caught.value.hint
    saved.write_bytes(safetensors.torch.save({"w": torch.ones(2)}))
    with pytest.raises(ArtifactError, match="no training state of edgexfer"):
        load_state(saved)
    with pytest.raises(ArtifactError, match="missing"):
        load_state(saved.with_name("missing"))


@pytest.mark.parametrize("header", ["{", "[1]]", '{"tensor": "7"}', '{"dict": 5}', '{"list": null}', "{}"])
def test_a_header_that_was_changed_is_named(tmp_path: Path, header: str) -> None:
    path = tmp_path / "s"
    path.write_bytes(safetensors.torch.save({"0": torch.ones(2)}, {"edgexfer_trainer_state": header}))
    with pytest.raises(ArtifactError, match="no training state"):
        load_state(path)


def test_a_file_is_never_half_written(saved: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(_: int) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", interrupted)
        with pytest.raises(KeyboardInterrupt):
            save_state({"epoch": 4}, saved)
    assert load_state(saved)["epoch"] == 3
    assert [path.name for path in saved.parent.iterdir()] == [saved.name]


def test_a_place_that_cannot_be_written_is_named(saved: Path) -> None:
    with pytest.raises(EdgexferError, match="cannot write"):
        save_state({}, saved / "below" / "a" / "file")


def test_the_file_holds_json_and_tensors_alone(saved: Path) -> None:
    with safetensors.safe_open(saved, framework="pt") as file:
        header = json.loads(file.metadata()["edgexfer_trainer_state"])
    assert header == {"dict": [["epoch", 3], ["w", {"tensor": "0"}]]}
