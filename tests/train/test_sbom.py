"""A bundle's bill of materials: read back by the library, whole, the same each time, and in the report."""

from __future__ import annotations

import json
from importlib.metadata import version

import pytest
from cyclonedx.model.bom import Bom
from cyclonedx.model.component import ComponentScope

from edgexfer.core.target import load_target
from edgexfer.gate.report.bundle_page import bundle_page
from edgexfer.train.sbom import SBOM, bill_of_materials
from tests.train.exports import Exports

pytestmark = pytest.mark.train


def test_a_bundle_lists_its_parts_with_version_and_licence(exports: Exports) -> None:
    bundle = exports.ort.bundle
    assert SBOM in bundle.manifest["files"]
    read = Bom.from_json(json.loads((bundle.folder / SBOM).read_bytes()))
    parts = {part.name: part for part in read.components}
    needed = {name for name, part in parts.items() if part.scope is ComponentScope.REQUIRED}
    rivals = {"onnxruntime", "openvino"}
    assert needed == {"edgexfer", "numpy", "pillow", "rich", "typer", "tf_efficientnet_lite0", *rivals}
    assert parts["numpy"].version == version("numpy")
    assert str(parts["numpy"].purl) == f"pkg:pypi/numpy@{version('numpy')}"
    assert parts["torch"].scope is ComponentScope.EXCLUDED
    assert "BSD-3-Clause" in str(next(iter(parts["torch"].licenses)).value)  # a long expression, which stays whole
    assert [name for name, part in parts.items() if not part.licenses and part.version is not None] == []


def test_the_same_parts_have_the_same_bill(exports: Exports) -> None:
    target = load_target("x86-cpu")
    once, again = (bill_of_materials(exports.run, target) for _ in range(2))
    assert once == again
    assert bill_of_materials(exports.run, load_target("jetson-orin-nano")) != once


def test_the_report_has_the_licences(exports: Exports) -> None:
    bundle = exports.ort.bundle
    rows = dict(bundle_page(bundle.folder, None, None).provenance.tables["Licences"])
    assert rows["tf_efficientnet_lite0"] == "Apache-2.0"
    assert rows[f"rich {version('rich')}"] == "MIT"
