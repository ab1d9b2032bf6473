"""What a bench objects to in the state of the machine, word by word where a command mends it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from edgexfer.core.target import load_target
from edgexfer.gate.machine.device_state import device_state
from edgexfer.gate.machine.fitness import objections
from edgexfer.gate.machine.host import host_facts
from tests.gate.machines import ORIN_NANO_SUPER, RASPBERRY_PI_5, Tree, cooling, cpus, gpu, plant, zone

SUPER = load_target("jetson-orin-nano-super")


def found(folder: Path, tree: Tree, later: Tree | None = None, *, target: Any = SUPER, count: int = 6) -> list[str]:
    """Objections to a machine that was `tree` before and has `later` on top of it afterwards."""
    before = host_facts(plant(folder, tree), cpus=range(count))
    return objections(before, device_state(plant(folder, later or {}), cpus=range(count)), target)


def test_an_orin_in_its_mode_with_locked_clocks_is_fit(tmp_path: Path) -> None:
    assert found(tmp_path, ORIN_NANO_SUPER) == []


def test_another_power_mode_than_the_targets(tmp_path: Path) -> None:
    (said,) = found(tmp_path, ORIN_NANO_SUPER, target=load_target("jetson-orin-nano"))
    assert said == (
        "the power mode is MAXN_SUPER, the target jetson-orin-nano means 15W: `sudo nvpmodel -m 0` switches"
    )


def test_a_mode_that_this_board_does_not_offer(tmp_path: Path) -> None:
    (said,) = found(tmp_path, ORIN_NANO_SUPER, target=load_target("jetson-orin-nx-16gb"))
    assert said.endswith("means MAXN, which this board does not offer (15W, 25W, MAXN_SUPER)")


def test_a_mode_is_known_by_any_spelling(tmp_path: Path) -> None:
    target = replace(SUPER, host={"power_mode": "mode_maxn_super"})
    assert found(tmp_path, ORIN_NANO_SUPER, target=target) == []


@pytest.mark.parametrize("target", [None, load_target("x86-cpu")])
def test_a_target_that_names_no_mode_asks_for_none(tmp_path: Path, target: Any) -> None:
    assert found(tmp_path, ORIN_NANO_SUPER, target=target) == []


FREE_CPUS = cpus(6, now=1728000, least=729600, most=1728000, possible=1728000, governor="schedutil")
SLOW_GPU = gpu("17000000.gpu", now=306000000, least=306000000, most=612000000)
HOT = zone(0, "cpu-thermal", 95600, (("passive", 99000),))
LITTLE = {
    "proc/meminfo": "MemTotal: 7802884 kB\nMemAvailable: 200000 kB\nSwapTotal: 3901440 kB\nSwapFree: 3799040 kB\n"
}
SWAPPED = {
    "proc/meminfo": "MemTotal: 7802884 kB\nMemAvailable: 5412345 kB\nSwapTotal: 3901440 kB\nSwapFree: 2799040 kB\n"
}


@pytest.mark.parametrize(
    ("tree", "later", "said"),
    [
        (FREE_CPUS, {}, "the clocks are not locked: run `sudo jetson_clocks`"),
        ({}, SLOW_GPU, "the GPU's highest clock changed from 1020 to 612 MHz"),
        ({}, {"var/lib/nvpmodel/status": "pmode:0001\n"}, "the power mode changed from MAXN_SUPER to 25W"),
        ({}, {"sys/class/hwmon/hwmon3/oc3_event_cnt": "39\n"}, "throttled 2 times while measuring for want of power"),
        ({}, cooling(1, "cpu-throttle-alert", 1), "clocks were held down because of heat (cpu-throttle-alert)"),
        ({}, HOT, "it is nearly too hot (cpu-thermal 96 °C of 99)"),
        ({}, LITTLE, "little memory is free (195 of 7620 MiB)"),
        ({}, SWAPPED, "the machine swapped 977 MiB to disk"),
        ({"proc/loadavg": "5.5 4 3 1/2 3\n"}, {}, "the machine was busy before (load average 5.5 on 6 CPUs)"),
        ({"sys/devices/system/cpu/cpu0/cpufreq/scaling_governor": "powersave"}, {}, "governor is powersave"),
    ],
)
def test_what_makes_an_orin_unfit(tmp_path: Path, tree: Tree, later: Tree, said: str) -> None:
    (sentence,) = found(tmp_path, {**ORIN_NANO_SUPER, **tree}, later)
    assert said in sentence


def test_nobody_locks_the_clocks_of_a_raspberry_pi(tmp_path: Path) -> None:
    calm = {"sys/devices/platform/soc@107c000000/soc@107c000000:firmware/get_throttled": "0\n"}
    assert found(tmp_path, {**RASPBERRY_PI_5, **calm}, target=load_target("raspberry-pi-5"), count=4) == []


def test_a_gpu_that_its_driver_holds_down(tmp_path: Path) -> None:
    host = host_facts(tmp_path, cpus=[0])
    after = {**device_state(tmp_path, cpus=[0]), "gpu": {"name": "RTX", "slowed_by": ["heat", "its power limit"]}}
    assert objections(host, after) == ["the GPU's clock is held down by heat, its power limit"]


def test_a_machine_that_tells_nothing_gives_no_objection(tmp_path: Path) -> None:
    assert found(tmp_path, {}, count=1) == []
