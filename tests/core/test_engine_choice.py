"""`engines/chosen.json`: what `build` chose counts on that machine, among those networks, and nowhere else."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgexfer.core.bundle import Bundle, open_bundle
from edgexfer.core.engine_choice import read_choice, write_choice
from edgexfer.core.errors import ArtifactError, SettingsError
from tests.bundles import make_bundle


@pytest.fixture
def bundle(bundle_folder: Path) -> Bundle:
    return open_bundle(bundle_folder)


def files_of(bundle: Bundle) -> list[str]:
    return sorted(path.name for path in (bundle.folder / "engines").iterdir())


def fresh(factory: pytest.TempPathFactory) -> Bundle:
    return open_bundle(make_bundle(factory.mktemp("b") / "b.edgx"))


class TestChoice:
    def choose(self, bundle: Bundle) -> Path:
        write_choice(bundle, "float32", engine="tensorrt 10.3.0", device="Orin, 8.7", reason="it is faster")
        return bundle.folder / "engines" / "chosen.json"

    def read(self, bundle: Bundle) -> str | None:
        return read_choice(bundle, engine="tensorrt 10.3.0", device="Orin, 8.7")

    def test_none_before_any_build(self, bundle: Bundle) -> None:
        assert self.read(bundle) is None

    def test_there_and_back(self, bundle: Bundle) -> None:
        record = json.loads(self.choose(bundle).read_text(encoding="utf-8"))
        assert record["format_version"] == 1
        assert record["reason"] == "it is faster"
        assert self.read(bundle) == "float32"
        assert files_of(bundle) == ["chosen.json"]

    def test_a_choice_made_elsewhere_does_not_count(self, bundle: Bundle) -> None:
        self.choose(bundle)
        assert read_choice(bundle, engine="tensorrt 10.7.0", device="Orin, 8.7") is None
        assert read_choice(bundle, engine="tensorrt 10.3.0", device="Thor, 11.0") is None

    def test_a_choice_of_other_networks_does_not_count(self, bundle: Bundle) -> None:
        self.choose(bundle)
        files = {**bundle.manifest["files"], "model.onnx": {"sha256": "0" * 64, "size_bytes": 1}}
        assert self.read(replace(bundle, manifest={**bundle.manifest, "files": files})) is None

    def test_what_is_written_about_the_networks_changes_no_choice(self, bundle: Bundle) -> None:
        self.choose(bundle)
        told = {**bundle.manifest, "digest": "0" * 64, "simulated": False}
        assert self.read(replace(bundle, manifest=told)) == "float32"

    def test_what_is_no_candidate_does_not_count_and_cannot_be_chosen(self, bundle: Bundle) -> None:
        path = self.choose(bundle)
        path.write_text(path.read_text(encoding="utf-8").replace("float32", "int8"), encoding="utf-8")
        assert self.read(bundle) is None
        with pytest.raises(SettingsError, match="holds no int8"):
            write_choice(bundle, "int8", engine="e", device="d", reason="")

    @settings(max_examples=60, deadline=None)
    @given(st.one_of(st.binary(max_size=40), st.recursive(st.none() | st.integers() | st.text(max_size=3), st.lists)))
    def test_a_damaged_one_is_named_whatever_is_in_it(
        self, tmp_path_factory: pytest.TempPathFactory, content: object
    ) -> None:
        bundle = fresh(tmp_path_factory)
        raw = content if isinstance(content, bytes) else json.dumps(content).encode()
        self.choose(bundle).write_bytes(raw)
        with pytest.raises(ArtifactError, match=r"chosen\.json is damaged") as caught:
            self.read(bundle)
        assert caught.value.hint == f"edgexfer build {bundle.folder} --rebuild"

    def test_one_of_a_later_format_is_named(self, bundle: Bundle) -> None:
        path = self.choose(bundle)
        path.write_text(path.read_text(encoding="utf-8").replace('version": 1', 'version": 2'), encoding="utf-8")
        with pytest.raises(ArtifactError, match="format_version 2, this edgexfer reads 1"):
            self.read(bundle)
