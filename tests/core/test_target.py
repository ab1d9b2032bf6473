"""Target profiles: those that are shipped, the alias, and every rule that keys must keep to each other."""

from __future__ import annotations

import json
import logging
import re
from pathlib import Path

import pytest

from edgexfer.core.errors import SettingsError
from edgexfer.core.target import ALIASES, load_target, meaning_of, target_from_json, target_names
from edgexfer.core.target_checks import has_int8, release, tensorrt_opsets

JETSONS = {
    "jetson-orin-nano": "8.7",
    "jetson-orin-nano-super": "8.7",
    "jetson-orin-nx-8gb": "8.7",
    "jetson-orin-nx-16gb": "8.7",
    "jetson-agx-orin-32gb": "8.7",
    "jetson-agx-orin-64gb": "8.7",
    "jetson-agx-thor": "11.0",
    "jetson-xavier-nx": "7.2",
    "jetson-nano": "5.3",
}


def profile(folder: Path, text: str) -> str:
    path = folder / "mine.toml"
    path.write_text(f'title = "mine"\n{text}')
    return str(path)


@pytest.mark.parametrize("name", target_names())
def test_a_shipped_profile_survives_the_bundle_as_json(name: str) -> None:
    target = load_target(name)
    assert target_from_json(json.loads(json.dumps(target.to_json()))) == target


@pytest.mark.parametrize("name", target_names())
def test_every_figure_of_a_shipped_profile_has_its_source(name: str) -> None:
    facts = load_target(name).facts
    assert len({fact.name for fact in facts}) == len(facts)
    for fact in facts:
        assert fact.value
        assert len(fact.source) > 10
        assert fact.certainty in ("stated", "derived", "unsure")
        assert not re.search(r"latency|\bms\b|images? ?/ ?s|fps", f"{fact.name} {fact.value}", re.IGNORECASE)


@pytest.mark.parametrize(("name", "capability"), JETSONS.items())
def test_a_jetson_profile_names_its_machine(name: str, capability: str) -> None:
    target = load_target(name)
    host = target.host
    assert (target.backend, target.dialect) == ("tensorrt", "tensorrt")
    assert (host["machine"], host["compute_capability"]) == ("aarch64", capability)
    assert not host["power_mode"].isdigit()
    assert host["boards"]
    assert host["jetpack"]
    assert target.options["workspace_mib"] > 0
    assert target.options["max_batch"] > 0


@pytest.mark.parametrize("name", target_names())
def test_types_follow_from_the_releases_that_are_served(name: str) -> None:
    target = load_target(name)
    serves_11 = any(release(version) >= (11, 0) for version in target.engine_versions)
    assert (target.float_type == "float16") is serves_11
    assert target.precision == ("float16" if name == "jetson-nano" else "auto")
    assert (target.engine_pixels == "float32") is any(release(v) < (8, 5) for v in target.engine_versions)
    for version in target.engine_versions:
        low, high = tensorrt_opsets(version)
        assert low <= target.opset <= high


def test_no_profile_for_orin_serves_the_release_without_its_kernels() -> None:
    for name in (name for name, capability in JETSONS.items() if capability == "8.7"):
        assert "10.13" not in load_target(name).engine_versions


def test_jetson_alone_means_one_profile_and_says_so(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO, "edgexfer"):
        assert load_target("jetson") == load_target("jetson-orin-nano")
    assert caplog.messages == ["jetson means jetson-orin-nano"]
    assert meaning_of("jetson-nano") is None
    assert set(ALIASES.values()) <= set(target_names())
    assert not set(ALIASES) & set(target_names())


def test_a_file_goes_before_an_alias(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("jetson").write_text('title = "my own"\nbackend = "ort"\ndialect = "ort"\n')
    assert meaning_of("jetson") is None
    assert load_target("jetson").title == "my own"


def test_an_unknown_name_is_answered_with_the_nearest() -> None:
    with pytest.raises(SettingsError, match="did you mean 'jetson-orin-nano'"):
        load_target("jetson-orin-nanoo")


TENSORRT = 'backend = "tensorrt"\ndialect = "tensorrt"\n'


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (TENSORRT + 'precision = "int8"\n[host]\ncompute_capability = "5.3"\n', "5.3 has no INT8"),
        (TENSORRT + 'precision = "auto"\n[host]\ncompute_capability = "6.2"\n', "6.2 has no INT8"),
        (TENSORRT + 'float_type = "float16"\nopset = 17\n', "Q/DQ hold float16 from opset 19"),
        (TENSORRT + 'opset = 19\nengine_versions = ["8.6", "10.3"]\n', "TensorRT 8.6 reads 7 to 17"),
        (TENSORRT + 'opset = 17\nengine_versions = ["8.2"]\n', "TensorRT 8.2 reads 7 to 13"),
        (TENSORRT + 'opset = 21\nengine_versions = ["10.3"]\n', "TensorRT 10.3 reads 9 to 20"),
        (TENSORRT + "opset = 12\n", "a scale per channel needs 13"),
        (TENSORRT + 'engine_versions = ["10.16", "10.3"]\n', "engine_versions is not in order"),
        (TENSORRT + 'engine_versions = ["10"]\n', "engine_versions has '10'"),
        ('backend = "tensorrt"\ndialect = "ort"\n', "reads no uint8 activations"),
        ('backend = "ort"\ndialect = "ort"\nengine_pixels = "float32"\n', "engine_pixels is 'float32'"),
        (TENSORRT + '[host]\npower_mode = "2"\n', "host.power_mode is '2', expected a name"),
        (TENSORRT + "[host]\npower_mode = 2\n", "host.power_mode is 2, expected a text"),
        (TENSORRT + '[host]\njetpack = "6.2"\n', "host.jetpack is '6.2', expected a list"),
        (TENSORRT + "[host]\nboards = [1]\n", "host.boards is \\[1\\], expected a list"),
        (TENSORRT + '[host]\ncompute_capability = "sm_87"\n', "host.compute_capability is 'sm_87'"),
        (TENSORRT + '[host]\nboard = "x"\n', "unknown key 'host.board'.*did you mean 'boards'"),
        (TENSORRT + "weight_bits = 6\n", "weight_bits is 6"),
        (TENSORRT + "max_drop = 2\n", "max_drop is 2"),
        (TENSORRT + '[[facts]]\nname = "TOPS"\nvalue = "1"\n', "key 'source' is missing"),
        (TENSORRT + '[[facts]]\nname = "a"\nvalue = "1"\nsource = "b"\ncertainty = "sure"\n', "certainty is 'sure'"),
    ],
)
def test_keys_that_contradict_each_other_are_named(tmp_path: Path, text: str, said: str) -> None:
    path = profile(tmp_path, text)
    with pytest.raises(SettingsError, match=said) as caught:
        load_target(path)
    assert path in caught.value.message


def test_a_gpu_without_int8_serves_in_float16(tmp_path: Path) -> None:
    text = TENSORRT + 'precision = "float16"\n[host]\ncompute_capability = "5.3"\npower_mode = "MAXN"\n'
    assert load_target(profile(tmp_path, text)).precision == "float16"


@pytest.mark.parametrize(
    ("capability", "there"),
    [("5.3", False), ("6.0", False), ("6.1", True), ("6.2", False), ("7.2", True), ("11.0", True)],
)
def test_which_gpus_compute_in_8_bits(capability: str, there: bool) -> None:
    assert has_int8(capability) is there


def test_releases_are_compared_as_numbers() -> None:
    assert release("10.16.2") > release("10.3.0.30") > release("8.6.1")
    with pytest.raises(ValueError, match="is no release"):
        release("10")


@pytest.mark.parametrize("rivals", ['["ort"]', '["openvino", "openvino"]'])
def test_a_rival_is_another_engine_and_named_once(tmp_path: Path, rivals: str) -> None:
    with pytest.raises(SettingsError, match=r"rivals is .*, expected other backends than 'ort', each once"):
        load_target(profile(tmp_path, f'backend = "ort"\ndialect = "ort"\nrivals = {rivals}\n'))


def test_a_snapshot_from_before_there_were_rivals_has_none() -> None:
    snapshot = load_target("x86-cpu").to_json()
    assert target_from_json(snapshot).rivals == ("openvino",)
    del snapshot["rivals"]
    assert target_from_json(snapshot).rivals == ()
