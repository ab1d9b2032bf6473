"""trtexec's lines: every flag is one that the release reads, and says what it is meant to say there."""

from __future__ import annotations

import json
import shlex
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from edgexfer.core.bundle import Bundle
from edgexfer.core.errors import SettingsError
from edgexfer.core.preprocess import Preprocess
from edgexfer.core.target import load_target, target_names
from edgexfer.core.target_checks import release
from edgexfer.core.trtexec import PROGRAM, example_lines, only_by_trtexec, trtexec_command, trtexec_lines

FLAGS: dict[str, list[str]] = json.loads(Path(__file__).with_name("trtexec_flags.json").read_text())["flags"]
PRECISIONS = ("int8", "int8-depthwise-float16", "float16", "float32")


def command(version: str, **settings: Any) -> list[str]:
    return trtexec_command(version, "m.onnx", **{"precision": "int8", "height": 96, "width": 128, **settings})


def a_bundle(target: str, **manifest: Any) -> Bundle:
    return Bundle(
        Path("runs/signs.edgx"), {"precision": "int8", **manifest}, ("a", "b"), Preprocess(96, 128), load_target(target)
    )


def known_to(version: str) -> set[str]:
    # The flags of the newest release that is on the list and not newer than `version`.
    listed = max((v for v in FLAGS if release(v) <= release(version)), key=release)
    return set(FLAGS[listed])


def unknown_flags(version: str, words: tuple[str, ...] | list[str]) -> set[str]:
    return {word.partition("=")[0] for word in words[1:]} - known_to(version)


@pytest.mark.parametrize("version", FLAGS)
@pytest.mark.parametrize("precision", PRECISIONS)
@pytest.mark.parametrize("seconds", [None, 10])
def test_a_release_reads_every_flag_it_is_given(version: str, precision: str, seconds: int | None) -> None:
    made = command(version, precision=precision, measure_seconds=seconds)
    assert made[0] == PROGRAM
    assert unknown_flags(version, made) == set()


@pytest.mark.parametrize("name", [name for name in target_names() if load_target(name).engine_versions])
def test_a_profile_gets_lines_that_its_releases_read(name: str) -> None:
    target = load_target(name)
    for lines in (example_lines(target), trtexec_lines(a_bundle(name, candidates={"float16": "candidates/f.onnx"}))):
        for line in lines:
            for version in line.versions:
                assert unknown_flags(version, line.command) == set()
        assert {version for line in lines for version in line.versions} == set(target.engine_versions)


def test_the_lines_for_old_boards_word_by_word() -> None:
    (nano,) = trtexec_lines(
        a_bundle(
            "jetson-nano", precision="float16", candidates={"float32": "x"}, trtexec_model="candidates/pixels.onnx"
        )
    )
    assert nano.text == (
        "/usr/src/tensorrt/bin/trtexec --onnx=signs.edgx/candidates/pixels.onnx --saveEngine=signs-float16.engine "
        "--timingCacheFile=signs-float16.engine.timing --workspace=256 --minShapes=pixels:1x96x128x3 "
        "--optShapes=pixels:1x96x128x3 --maxShapes=pixels:4x96x128x3 --fp16 --buildOnly"
    )
    (xavier,) = trtexec_lines(a_bundle("jetson-xavier-nx"))
    assert xavier.text == (
        "/usr/src/tensorrt/bin/trtexec --onnx=signs.edgx/model.onnx --saveEngine=signs-int8.engine "
        "--timingCacheFile=signs-int8.engine.timing --memPoolSize=workspace:1024 --minShapes=pixels:1x96x128x3 "
        "--optShapes=pixels:1x96x128x3 --maxShapes=pixels:8x96x128x3 --int8 --fp16 --buildOnly"
    )


def test_every_candidate_has_its_line_and_equal_lines_are_one() -> None:
    lines = trtexec_lines(a_bundle("jetson-agx-orin-64gb", candidates={"float16": "candidates/float16.onnx"}))
    assert [(line.precision, line.versions) for line in lines] == [
        ("int8", ("10.3", "10.16")),
        ("int8", ("11.4",)),
        ("float16", ("10.3", "10.16")),
        ("float16", ("11.4",)),
    ]
    assert lines[2].command[1] == "--onnx=signs.edgx/candidates/float16.onnx"


def test_the_release_at_hand_alone() -> None:
    (line,) = trtexec_lines(a_bundle("jetson-orin-nano"), "10.3.0.30")
    assert line.versions == ("10.3.0.30",)
    assert "--skipInference" in line.command


def test_kernels_that_skip_zeros_are_tried_where_the_bundle_is_2_4() -> None:
    for version in FLAGS:
        made = command(version, sparse_weights=True)
        assert ("--sparsity=enable" in made) is (version != "8.2")
        assert unknown_flags(version, made) == set()
    assert "--sparsity=enable" not in command("10.3")


def test_types_in_the_file_are_kept_by_10_and_refused_by_8() -> None:
    made = command("10.3", float_type="float16")
    assert {"--stronglyTyped", "--int8", "--fp16"} & set(made) == {"--stronglyTyped"}
    assert "--stronglyTyped" not in command("11.4", float_type="float16")
    with pytest.raises(SettingsError, match=r"TensorRT 8\.6 chooses types itself"):
        command("8.6", float_type="float16")


def test_precision_is_a_flag_up_to_10_and_the_files_own_in_11() -> None:
    flags = {"--int8", "--fp16"}
    assert [flags & set(command("10.16", precision=precision)) for precision in PRECISIONS] == [
        flags,
        flags,
        {"--fp16"},
        set(),
    ]
    assert all(not flags & set(command("11.4", precision=precision)) for precision in PRECISIONS)


@pytest.mark.parametrize("version", FLAGS)
def test_what_flipped_in_11_is_written_out(version: str) -> None:
    made = command(version, measure_seconds=3)
    assert {"--useCudaGraph", "--useSpinWait", "--duration=3"} <= set(made)
    assert ("--includeDataTransfers" in made) is (release(version) >= (11, 0))
    assert not {"--skipInference", "--buildOnly"} & set(made)


def test_a_line_survives_the_shell() -> None:
    bundle = replace(a_bundle("jetson-xavier-nx"), folder=Path("my runs/it's mine.edgx"))
    (line,) = trtexec_lines(bundle)
    assert shlex.split(line.text) == list(line.command)
    assert "--onnx=it's mine.edgx/model.onnx" in line.command


def test_which_profiles_edgexfer_cannot_build_for_itself() -> None:
    assert [name for name in target_names() if only_by_trtexec(load_target(name))] == [
        "jetson-nano",
        "jetson-xavier-nx",
    ]


@pytest.mark.parametrize("version", ["7.1", "8", "ten"])
def test_a_release_that_nobody_knows_is_refused(version: str) -> None:
    with pytest.raises(SettingsError, match=r"TensorRT"):
        command(version)


def test_a_bundle_for_another_engine_is_refused() -> None:
    with pytest.raises(SettingsError, match="made for ort, not for TensorRT"):
        trtexec_lines(a_bundle("x86-cpu"))
