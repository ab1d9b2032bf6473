"""Someone who exchanges a file of a bundle while it is being opened: what runs is what was checked, or nothing."""

from __future__ import annotations

import dataclasses
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from edgexfer.backends import Backend, find_backend
from edgexfer.core.bundle import (
    CONTROL,
    HISTORY,
    LAYERS,
    MEASUREMENTS,
    MODEL,
    REFERENCE,
    SPLIT,
    Bundle,
    open_bundle,
)
from edgexfer.core.errors import ArtifactError, EdgexferError
from edgexfer.gate.measure.roles import roles_of
from edgexfer.runtime.classifier import load
from tests.backends.tensorrt.machine import Machine
from tests.bundles import hue_model, hue_probabilities
from tests.gate.report.made import full, made_bundle

_EXCHANGE = """
import itertools, os, shutil, sys
place, mine, theirs = sys.argv[1:]
print("begun", flush=True)
for source in itertools.cycle((mine, theirs)):
    shutil.copyfile(source, place + ".next")
    os.replace(place + ".next", place)
"""


class Exchanged(Bundle):
    """A bundle whose file is gone as soon as its content has been read and checked."""

    def read(self, name: str | None = None) -> bytes:
        content = super().read(name)
        self.model.unlink()
        return content


@pytest.fixture(params=["ort", "openvino", "tensorrt"])
def backend(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Backend:
    if request.param == "tensorrt":
        pytest.importorskip("onnxruntime", reason="onnxruntime is not installed (pip install 'edgexfer[cpu]')")
        Machine().install(monkeypatch)
    found = find_backend(request.param)
    if (reason := found.missing()) is not None:
        pytest.skip(reason)
    return found


def test_an_engine_gets_the_bytes_that_were_checked(backend: Backend, bundle_folder: Path) -> None:
    opened = open_bundle(bundle_folder)
    pixels, expected = opened.references()
    exchanged = Exchanged(**{field.name: getattr(opened, field.name) for field in dataclasses.fields(opened)})
    session = backend.open_session(exchanged, threads=1)
    assert not (bundle_folder / MODEL).exists()
    assert np.abs(session.run(pixels[:1]) - expected[:1]).max() < 1e-5
    session.close()


def test_another_file_in_its_place_is_never_run(backend: Backend, bundle_folder: Path) -> None:
    opened = open_bundle(bundle_folder)
    checked = opened.model.read_bytes()
    opened.model.write_bytes(hue_model(4, 8))
    assert opened.read() == checked
    with pytest.raises(ArtifactError, match="was changed"):
        opened.read()
    with pytest.raises(ArtifactError, match="was changed"):
        backend.open_session(opened, threads=1)


def test_other_references_are_refused(bundle_folder: Path) -> None:
    opened = open_bundle(bundle_folder)
    (bundle_folder / REFERENCE).write_bytes(b"PK")
    with pytest.raises(ArtifactError, match="was changed"):
        opened.references()


def test_a_process_that_exchanges_all_the_time(bundle_folder: Path, tmp_path: Path) -> None:
    pytest.importorskip("onnxruntime", reason="onnxruntime is not installed (pip install 'edgexfer[cpu]')")
    pixels, _ = open_bundle(bundle_folder).references()
    mine, theirs = tmp_path / "mine.onnx", tmp_path / "theirs.onnx"
    mine.write_bytes((bundle_folder / MODEL).read_bytes())
    theirs.write_bytes(mine.read_bytes().replace(b"hue", b"eul").replace(np.float32(8).tobytes(), bytes(4)))
    command = [sys.executable, "-c", _EXCHANGE, str(bundle_folder / MODEL), str(mine), str(theirs)]
    came = {"answered": 0, "refused": 0}
    with subprocess.Popen(command, stdout=subprocess.PIPE) as other:
        assert other.stdout is not None
        other.stdout.readline()
        try:
            for _ in range(60):
                try:
                    with load(bundle_folder, backend="ort", threads=1) as classifier:
                        found = classifier.probabilities(pixels)
                except EdgexferError:
                    came["refused"] += 1
                else:
                    came["answered"] += 1
                    assert np.abs(found - hue_probabilities(pixels, 3)).max() < 1e-5
        finally:
            other.kill()
    assert came["answered"] + came["refused"] == 60
    assert came["refused"] > 0  # it was met in the act


@pytest.mark.parametrize("name", [SPLIT, MEASUREMENTS, LAYERS, HISTORY, CONTROL])
def test_a_table_that_is_exchanged_after_it_was_checked_is_in_no_report(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("jinja2", reason="Jinja2 is not installed (pip install 'edgexfer[report]')")
    from edgexfer.gate.report import bundle_page
    from edgexfer.gate.report.page import report

    folder = full(made_bundle(tmp_path / "b.edgx"))

    def exchanged(place: Path) -> Bundle:
        opened = open_bundle(place)
        with (folder / name).open("ab") as file:
            file.write(b"\n")
        return opened

    monkeypatch.setattr(bundle_page, "open_bundle", exchanged)
    with pytest.raises(ArtifactError, match=f"{name} was changed after it was written"):
        report(folder, tmp_path / "page.html")
    assert not (tmp_path / "page.html").exists()


def test_a_list_of_images_that_is_exchanged_after_it_was_checked_is_refused(bundle_folder: Path) -> None:
    opened = open_bundle(bundle_folder)
    (bundle_folder / SPLIT).write_text("path,label,split,sha256\na.jpg,a,test," + "0" * 64 + "\n", encoding="utf-8")
    with pytest.raises(ArtifactError, match=f"{SPLIT} was changed after it was written"):
        roles_of(opened)
