"""`engines/chosen.json`: what `build` chose is read as it was written, among those networks, and nowhere else."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgexfer.core.bundle import Bundle, open_bundle
from edgexfer.core.engine_choice import EngineChoice, read_choice, write_choice
from edgexfer.core.errors import ArtifactError, SettingsError
from tests.bundles import make_bundle

CHOICE = EngineChoice(
    "float32", "openvino", "openvino 2026.4.1", "Xeon, 2 cores", ("onnxruntime 1", "openvino 2026.4.1")
)


@pytest.fixture
def bundle(tmp_path: Path) -> Bundle:
    return open_bundle(make_bundle(tmp_path / "b.edgx", rivals=["openvino"]))


def choose(bundle: Bundle, choice: EngineChoice = CHOICE) -> Path:
    write_choice(bundle, choice, reason="it is faster")
    return bundle.folder / "engines" / "chosen.json"


def changed(path: Path, **keys: object) -> None:
    """Writes the record anew with other values; a key whose value is None is left out."""
    record = {**json.loads(path.read_bytes()), **keys}
    path.write_text(json.dumps({key: value for key, value in record.items() if value is not None}), encoding="utf-8")


def test_none_before_any_build(bundle: Bundle) -> None:
    assert read_choice(bundle) is None


def test_there_and_back(bundle: Bundle) -> None:
    path = choose(bundle)
    record = json.loads(path.read_text(encoding="utf-8"))
    assert (record["format_version"], record["backend"], record["reason"]) == (2, "openvino", "it is faster")
    assert read_choice(bundle) == CHOICE
    assert [file.name for file in path.parent.iterdir()] == ["chosen.json"]


def test_version_1_means_the_targets_own_backend(bundle: Bundle) -> None:
    path = choose(bundle, replace(CHOICE, backend="ort", engine="onnxruntime 1"))
    changed(path, format_version=1, backend=None, considered=None)
    assert read_choice(bundle) == EngineChoice("float32", "ort", "onnxruntime 1", "Xeon, 2 cores", ("onnxruntime 1",))


def test_a_choice_of_other_networks_does_not_count(bundle: Bundle) -> None:
    choose(bundle)
    files = {**bundle.manifest["files"], "model.onnx": {"sha256": "0" * 64, "size_bytes": 1}}
    assert read_choice(replace(bundle, manifest={**bundle.manifest, "files": files})) is None


def test_what_is_written_about_the_networks_changes_no_choice(bundle: Bundle) -> None:
    choose(bundle)
    told = {**bundle.manifest, "digest": "0" * 64, "simulated": False}
    assert read_choice(replace(bundle, manifest=told)) == CHOICE


def test_what_is_no_candidate_does_not_count_and_cannot_be_chosen(bundle: Bundle) -> None:
    changed(choose(bundle), precision="int8")
    assert read_choice(bundle) is None
    with pytest.raises(SettingsError, match="holds no int8"):
        choose(bundle, replace(CHOICE, precision="int8"))


def test_a_backend_that_the_target_does_not_name_does_not_count(bundle: Bundle) -> None:
    changed(choose(bundle), backend="tensorrt")
    assert read_choice(bundle) is None


@settings(max_examples=60, deadline=None)
@given(st.one_of(st.binary(max_size=40), st.recursive(st.none() | st.integers() | st.text(max_size=3), st.lists)))
def test_a_damaged_one_is_named_whatever_is_in_it(tmp_path_factory: pytest.TempPathFactory, content: object) -> None:
    bundle = open_bundle(make_bundle(tmp_path_factory.mktemp("b") / "b.edgx"))
    raw = content if isinstance(content, bytes) else json.dumps(content).encode()
    choose(bundle, replace(CHOICE, backend="ort")).write_bytes(raw)
    with pytest.raises(ArtifactError, match=r"chosen\.json is damaged") as caught:
        read_choice(bundle)
    assert caught.value.hint == f"edgexfer build {bundle.folder} --rebuild"


@pytest.mark.parametrize("key", ["precision", "backend", "engine", "device", "models", "considered"])
def test_one_that_lacks_a_key_is_damaged(bundle: Bundle, key: str) -> None:
    changed(choose(bundle), **{key: None})
    with pytest.raises(ArtifactError, match=r"chosen\.json is damaged"):
        read_choice(bundle)


def test_one_of_a_later_format_is_named(bundle: Bundle) -> None:
    changed(choose(bundle), format_version=3)
    with pytest.raises(ArtifactError, match="format_version 3, this edgexfer reads 1 and 2"):
        read_choice(bundle)
