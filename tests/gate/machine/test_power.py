"""Which sensor tells of a device's power, what its files mean, and why none does."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgexfer.gate.machine.power import power_source
from tests.gate.machines import Tree, plant


def ina3221(chip: int, *rails: tuple[str, int, int]) -> Tree:
    """A chip of three channels, as JetPack 5 and later show it: name, mV, mA."""
    folder = f"sys/class/hwmon/hwmon{chip}"
    files = {f"{folder}/name": "ina3221\n", f"{folder}/in7_label": "sum of shunt voltages\n"}
    for number, (name, millivolts, milliamperes) in enumerate(rails, start=1):
        files[f"{folder}/in{number}_label"] = f"{name}\n"
        files[f"{folder}/in{number}_input"] = f"{millivolts}\n"
        files[f"{folder}/curr{number}_input"] = f"{milliamperes}\n"
    return files


ORIN_NANO = ina3221(1, ("VDD_IN", 5008, 1048), ("VDD_CPU_GPU_CV", 5008, 208), ("VDD_SOC", 5000, 296))
AGX_ORIN = {
    **ina3221(2, ("VDD_GPU_SOC", 19000, 200), ("VDD_CPU_CV", 19000, 100), ("VIN_SYS_5V0", 5000, 800)),
    **ina3221(3, ("NC", 0, 0), ("VDDQ_VDD2_1V8AO", 5000, 100), ("NC", 0, 0)),
}
_NANO_FOLDER = "sys/bus/i2c/drivers/ina3221x/6-0040/iio:device0"
NANO = {
    f"{_NANO_FOLDER}/rail_name_0": "POM_5V_IN\n",
    f"{_NANO_FOLDER}/in_power0_input": "3129\n",
    f"{_NANO_FOLDER}/rail_name_1": "POM_5V_GPU\n",
    f"{_NANO_FOLDER}/in_power1_input": "120\n",
}
THOR = {"sys/class/hwmon/hwmon4/name": "ina238\n", "sys/class/hwmon/hwmon4/power1_input": "21500000\n"}
SERVER = {
    "sys/class/hwmon/hwmon0/name": "power_meter\n",
    "sys/class/hwmon/hwmon0/power1_average": "182000000\n",
    "sys/class/hwmon/hwmon0/power1_input": "1\n",
}


@pytest.mark.parametrize(
    ("tree", "watts", "said"),
    [
        (ORIN_NANO, 5.248384, "VDD_IN (the whole module)"),
        (AGX_ORIN, 9.7, "VDD_GPU_SOC + VDD_CPU_CV + VIN_SYS_5V0"),
        (NANO, 3.129, "POM_5V_IN (the whole module)"),
        (THOR, 21.5, "the whole machine"),
        (SERVER, 182.0, "the whole machine"),
        ({**SERVER, **ORIN_NANO}, 5.248384, "VDD_IN"),
    ],
)
def test_what_a_device_tells(tmp_path: Path, tree: Tree, watts: float, said: str) -> None:
    source, why_not = power_source(plant(tmp_path, tree))
    assert source is not None
    assert said in source.name
    assert (source.read_w(), why_not) == (pytest.approx(watts), "")


def rapl(zone: str, name: str, energy: int, most: int = 262143328850) -> Tree:
    folder = f"sys/class/powercap/intel-rapl:{zone}"
    return {
        f"{folder}/name": f"{name}\n",
        f"{folder}/energy_uj": f"{energy}\n",
        f"{folder}/max_energy_range_uj": f"{most}\n",
    }


def test_a_counter_of_energy_is_watts_since_the_last_reading(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    now = [10**9]
    monkeypatch.setattr("edgexfer.gate.machine.power._Energy.__init__.__defaults__", (lambda: now[0],))
    two = {**rapl("0", "package-0", 1_000_000), **rapl("1", "package-1", 262143328000)}
    parts = {**rapl("0:0", "core", 5), **rapl("2", "psys", 7)}
    source, _ = power_source(plant(tmp_path, {**two, **parts}))
    assert source is not None
    assert "the CPU package alone" in source.name
    assert source.read_w() is None  # nothing to compare with yet
    now[0] += 2 * 10**9
    # The second counter began again meanwhile: 850 µJ up to its end, and 9,999,150 from there.
    plant(tmp_path, {**rapl("0", "package-0", 31_000_000), **rapl("1", "package-1", 9_999_150)})
    assert source.read_w() == pytest.approx((30 + 10) / 2)
    assert source.read_w() is None  # no time has passed
    now[0] += 10**9
    (tmp_path / "sys/class/powercap/intel-rapl:0/energy_uj").write_text("")
    assert source.read_w() is None


def test_a_counter_that_may_not_be_read_is_said(tmp_path: Path) -> None:
    # As an unreadable file answers, also where root runs this test.
    source, why_not = power_source(plant(tmp_path, {**rapl("0", "package-0", 1), _COUNTER: ""}))
    assert source is None
    assert "root alone" in why_not
    assert "chmod a+r" in why_not


_COUNTER = "sys/class/powercap/intel-rapl:0/energy_uj"


def test_most_machines_do_not_tell(tmp_path: Path) -> None:
    assert power_source(tmp_path) == (None, "this device does not tell how much power it draws")


@pytest.mark.parametrize("text", ["", "-5", "x", "9" * 18])
def test_a_sensor_that_answers_nonsense_is_silent(tmp_path: Path, text: str) -> None:
    tree = {**ORIN_NANO, "sys/class/hwmon/hwmon1/curr1_input": text}
    assert power_source(plant(tmp_path, tree))[0] is None


ALL = {**ORIN_NANO, **NANO, **THOR, **rapl("0", "package-0", 5)}


@settings(max_examples=40, deadline=None)
@given(st.dictionaries(st.sampled_from(sorted(ALL)), st.text(max_size=20), max_size=8))
def test_no_content_of_any_file_is_an_error(tmp_path_factory: pytest.TempPathFactory, content: Tree) -> None:
    root = tmp_path_factory.mktemp("root")
    for name, text in {**ALL, **content}.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(text.encode("utf-8", "surrogatepass"))
    source, why_not = power_source(root)
    assert (source is None) == bool(why_not)
    watts = None if source is None else source.read_w()
    assert watts is None or 0 <= watts < 10_000
