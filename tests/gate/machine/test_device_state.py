"""What the readers of a device's state make of captured trees, and of garbage."""

from __future__ import annotations

import json
import os
import tempfile
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgexfer.gate.machine.device_state import device_state
from edgexfer.gate.machine.host import host_facts, machine_class
from edgexfer.gate.machine.thermal import near_trip, temperatures, throttled_between, throttling, trips
from tests.gate.machines import ALL, NANO, ORIN_NANO_SUPER, RASPBERRY_PI_5, THOR, XAVIER_NX, XEON, Tree, cooling, plant

HERE = [0, 1, 2, 3]


def test_an_orin_with_locked_clocks(tmp_path: Path) -> None:
    state = device_state(plant(tmp_path, ORIN_NANO_SUPER), cpus=range(6))
    assert state["clocks"] == {
        "cpu_mhz": {"now": [1728, 1728], "least": 1728, "most": 1728, "possible": 1728},
        "gpu_mhz": {"now": 1020, "least": 1020, "most": 1020},
        "gpu_load": 34.5,
        "emc_mhz": None,
        "locked": True,
    }
    assert state["power_mode"] == "MAXN_SUPER"
    assert state["fan"] == {"pwm": 76, "rpm": 1636}
    assert state["temperatures_celsius"] == {"cpu-thermal": 48.562, "tj-thermal": 49.312}
    assert state["trips_celsius"] == {"cpu-thermal": 99.0, "tj-thermal": 97.0}
    assert (state["memory_available_mib"], state["swap_used_mib"]) == (5285, 100)
    assert state["throttling"] == {
        "thermal_events": None,
        "raspberry_pi": None,
        "over_current": {"oc1": 0, "oc3": 37},
        "cooling": {},
        "hottest_celsius": 49.312,
    }
    assert (state["tegrastats"], state["gpu"]) == (None, None)  # programs are asked about this machine alone


def test_a_xavier_whose_clocks_go_up_and_down(tmp_path: Path) -> None:
    state = device_state(plant(tmp_path, XAVIER_NX), cpus=range(6))
    assert state["clocks"]["gpu_mhz"] == {"now": 114, "least": 114, "most": 1109}
    assert state["clocks"]["cpu_mhz"] == {"now": [1190, 1190], "least": 115, "most": 1420, "possible": 1907}
    assert (state["clocks"]["locked"], state["clocks"]["gpu_load"]) == (False, 0.0)
    assert state["fan"] == {"pwm": 80, "rpm": 2100}


def test_the_constant_of_an_old_nano_is_no_heat(tmp_path: Path) -> None:
    state = device_state(plant(tmp_path, NANO), cpus=range(4))
    assert state["temperatures_celsius"]["PMIC-Die"] == 100.0
    assert state["throttling"]["hottest_celsius"] == 46.0
    assert state["clocks"]["gpu_mhz"]["now"] == 921
    assert (state["clocks"]["locked"], state["clocks"]["emc_mhz"]) == (True, 1600)


def test_a_thor_that_is_held_down(tmp_path: Path) -> None:
    state = device_state(plant(tmp_path, THOR), cpus=range(14))
    assert state["clocks"]["gpu_mhz"] == {"now": 315, "least": 315, "most": 1575}
    assert state["throttling"]["cooling"] == {"devfreq-gpu-gpc-0": 18, "gpu-throttle-alert": 1}


def test_a_raspberry_pi_that_is_throttled(tmp_path: Path) -> None:
    state = device_state(plant(tmp_path, RASPBERRY_PI_5), cpus=range(4))
    assert (state["throttling"]["raspberry_pi"], state["throttling"]["hottest_celsius"]) == ("50005", 61.35)
    assert (state["clocks"]["locked"], state["clocks"]["gpu_mhz"]) == (False, None)
    assert state["trips_celsius"] == {}  # a fan's point and the one where it switches off hold nothing down
    assert throttled_between(state["throttling"], state["throttling"]) is not None


def test_a_server_is_not_held_down_by_what_only_looks_so(tmp_path: Path) -> None:
    state = device_state(plant(tmp_path, XEON), cpus=[0, 1])
    assert state["throttling"]["cooling"] == {}
    assert state["temperatures_celsius"] == {"acpitz": 29.8}
    assert state["trips_celsius"] == {}


def test_clocks_that_differ_by_cluster_can_be_locked(tmp_path: Path) -> None:
    for cpu, khz in ((0, 1800000), (1, 2400000)):
        folder = f"sys/devices/system/cpu/cpu{cpu}/cpufreq"
        plant(tmp_path, {f"{folder}/scaling_min_freq": f"{khz}", f"{folder}/scaling_max_freq": f"{khz}"})
    found = device_state(tmp_path, cpus=[0, 1])["clocks"]
    assert found["locked"] is True
    assert found["cpu_mhz"] == {"now": None, "least": 1800, "most": 2400, "possible": None}


@pytest.mark.parametrize("name", ALL)
def test_a_reading_is_json(tmp_path: Path, name: str) -> None:
    facts = host_facts(plant(tmp_path, ALL[name]), cpus=HERE)
    assert json.loads(json.dumps(facts, allow_nan=False)) == facts


def test_a_sensor_that_answers_with_an_error_is_left_out(tmp_path: Path) -> None:
    plant(tmp_path, ORIN_NANO_SUPER)
    (tmp_path / "sys/class/thermal/thermal_zone0/temp").unlink()
    (tmp_path / "sys/class/thermal/thermal_zone0/temp").mkdir()
    assert set(temperatures(tmp_path)) == {"tj-thermal"}


def test_nearly_too_hot_is_told_before_it_is() -> None:
    points = {"cpu-thermal": 99.0, "tj-thermal": 97.0, "PMIC-Die": 100.0, "gone": 90.0}
    degrees = {"cpu-thermal": 95.0, "tj-thermal": 60.0, "PMIC-Die": 100.0}
    assert near_trip(degrees, points, 5.0) == ["cpu-thermal 95 °C of 99"]
    assert trips(Path("/nowhere")) == {}


@pytest.mark.parametrize(
    ("before", "after", "said"),
    [
        ({"thermal_events": 5}, {"thermal_events": 5}, None),
        ({"thermal_events": 5}, {"thermal_events": 6}, "throttled 1 times"),
        ({"raspberry_pi": "50000"}, {"raspberry_pi": "50000"}, None),
        ({"raspberry_pi": "0"}, {"raspberry_pi": "50000"}, "was throttled while measuring"),
        ({"raspberry_pi": "0"}, {"raspberry_pi": "4"}, "get_throttled is 0x4"),
        ({"raspberry_pi": "0"}, {"raspberry_pi": "?"}, None),
        ({"over_current": {"oc1": 0, "oc3": 37}}, {"over_current": {"oc1": 0, "oc3": 37}}, None),
        ({"over_current": {"oc1": 0, "oc3": 37}}, {"over_current": {"oc1": 1, "oc3": 39}}, "throttled 3 times"),
        ({"cooling": {"cpu-throttle-alert": 1}}, {"cooling": {}}, "cpu-throttle-alert"),
        ({"cooling": {}}, {"cooling": {"cpufreq-cpu0": 2}}, "cpufreq-cpu0"),
    ],
)
def test_throttling_between_two_readings(tmp_path: Path, before: Tree, after: Tree, said: str | None) -> None:
    calm = throttling(tmp_path)
    answer = throttled_between({**calm, **before}, {**calm, **after})
    assert (answer is None) if said is None else (answer is not None and said in answer)


def test_readings_of_an_older_version_can_be_compared() -> None:
    old = {"thermal_events": None, "raspberry_pi": None, "hottest_celsius": None}
    assert throttled_between(old, old) is None


def test_a_fan_at_work_holds_nothing_down(tmp_path: Path) -> None:
    plant(tmp_path, {**cooling(0, "pwm-fan", 3), **cooling(1, "CPU-balanced", 0)})
    assert throttling(tmp_path)["cooling"] == {}


NAMES = sorted({name for tree in ALL.values() for name in tree})


@settings(max_examples=25, deadline=None)
@given(st.dictionaries(st.sampled_from(NAMES), st.one_of(st.binary(max_size=40), st.text(max_size=40)), max_size=12))
def test_no_content_of_any_file_is_an_error(content: dict[str, bytes | str]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        root = plant(Path(folder), {**ORIN_NANO_SUPER, **RASPBERRY_PI_5})
        for name, data in content.items():
            path = root / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(data if isinstance(data, bytes) else data.encode("utf-8", "surrogatepass"))
        facts = host_facts(root, cpus=HERE)
        json.dumps(facts, allow_nan=False)
        assert machine_class(facts)
        assert isinstance(throttled_between(facts["throttling"], facts["throttling"]), str | None)


@pytest.mark.parametrize("text", ["9" * 5000, "²", "1e400", "nan", "-", "0x", "", "\0", "1 2 3"])
def test_numbers_that_are_none(tmp_path: Path, text: str) -> None:
    names = [name for name in NAMES if not name.endswith(("/type", "_type"))]
    facts = host_facts(plant(tmp_path, dict.fromkeys(names, text)), cpus=HERE)
    json.dumps(facts, allow_nan=False)
    assert facts["memory_mib"] is None
    assert facts["clocks"]["gpu_mhz"] is None


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root may read everything")
def test_a_folder_that_may_not_be_read_is_an_empty_one(tmp_path: Path) -> None:
    plant(tmp_path, ORIN_NANO_SUPER)
    folder = tmp_path / "sys/class"
    folder.chmod(0)
    try:
        assert device_state(tmp_path, cpus=HERE)["temperatures_celsius"] == {}
    finally:
        folder.chmod(0o755)
