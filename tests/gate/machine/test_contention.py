"""Who else had the CPUs: counters of captured trees, what is said of them, and records that do not have them."""

from __future__ import annotations

import json
import tempfile
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgexfer.gate.machine.contention import contended, contention, throttled_by_quota
from edgexfer.gate.machine.device_state import device_state
from edgexfer.gate.machine.fitness import disqualifying, objections
from edgexfer.gate.machine.host import host_facts
from tests.gate.machines import Tree, plant

# A container with a quota of 1.5 CPUs on a virtual machine (cgroup v2, Linux 6.1).
RUNNER: Tree = {
    "proc/stat": "cpu  1706889 655561 194058 2110908 33255 0 5156 153432 0 0\ncpu0 1 2 3 4 5 6 7 8 9 10\n",
    "proc/uptime": "24012.85 46022.10\n",
    "proc/self/cgroup": "0::/\n",
    "proc/thread-self/schedstat": "9125000000 3202623 812\n",
    "proc/pressure/cpu": "some avg10=0.10 avg60=0.34 avg300=0.18 total=4266288138\n"
    "full avg10=0.00 avg60=0.00 avg300=0.00 total=0\n",
    "sys/fs/cgroup/cpu.stat": "usage_usec 5000000\nuser_usec 4000000\nsystem_usec 1000000\nnr_periods 400\n"
    "nr_throttled 12\nthrottled_usec 345678\nnr_bursts 0\nburst_usec 0\n",
    "sys/fs/cgroup/cpu.pressure": "some avg10=1.53 avg60=0.87 avg300=0.73 total=3217911\n",
}
# The same with cgroup v1, and a kernel that has no pressure stall information.
OLD: Tree = {
    "proc/stat": "cpu  100 0 100 800 0 0 0\n",  # before Linux 2.6.11 there was no steal
    "sys/fs/cgroup/cpu/cpu.stat": "nr_periods 400\nnr_throttled 12\nthrottled_time 345678901\n",
}


def test_a_container_on_a_virtual_machine(tmp_path: Path) -> None:
    assert contention(plant(tmp_path, RUNNER)) == {
        "throttled_periods": 12,
        "throttled_ms": 345,
        "stolen_ticks": 153432,
        "all_ticks": 1706889 + 655561 + 194058 + 2110908 + 33255 + 5156 + 153432,
        "pressure_us": 3217911,  # of the container, where it has one of its own
        "ran_ns": 9125000000,
        "waited_ns": 3202623,
        "uptime_ms": 24012850,
    }


def test_the_machines_pressure_where_the_container_has_none(tmp_path: Path) -> None:
    tree = {name: text for name, text in RUNNER.items() if name != "sys/fs/cgroup/cpu.pressure"}
    assert contention(plant(tmp_path, tree))["pressure_us"] == 4266288138


def test_a_group_within_the_container(tmp_path: Path) -> None:
    inner = {
        "proc/self/cgroup": "0::/user.slice/job-7\n",
        "sys/fs/cgroup/user.slice/job-7/cpu.stat": "nr_periods 4\nnr_throttled 3\nthrottled_usec 9000\n",
    }
    assert contention(plant(tmp_path, {**RUNNER, **inner}))["throttled_ms"] == 9
    outside = {"proc/self/cgroup": "0::/../..\n", "sys/cpu.stat": "nr_throttled 99\n"}
    assert contention(plant(tmp_path, outside))["throttled_periods"] == 12


def test_an_old_kernel(tmp_path: Path) -> None:
    found = contention(plant(tmp_path, OLD))
    assert (found["throttled_periods"], found["throttled_ms"]) == (12, 345)
    assert (found["stolen_ticks"], found["all_ticks"], found["pressure_us"]) == (None, 1000, None)


def test_a_machine_that_tells_nothing(tmp_path: Path) -> None:
    found = contention(tmp_path)
    assert set(found.values()) == {None}
    assert contended(found, found) == []
    assert throttled_by_quota(found, found) is None


BEFORE = {
    "throttled_periods": 12,
    "throttled_ms": 345,
    "stolen_ticks": 1000,
    "all_ticks": 100_000,
    "pressure_us": 5_000_000,
    "ran_ns": 10**9,
    "waited_ns": 10**9,
    "uptime_ms": 500_000,
}


def later(**more: int) -> dict[str, int]:
    """Twenty seconds later: what is more by then, and nothing else but the time."""
    more = {"all_ticks": 4000, "uptime_ms": 20_000, "ran_ns": 15 * 10**9, **more}
    return {key: value + more.get(key, 0) for key, value in BEFORE.items()}


@pytest.mark.parametrize(
    ("more", "said"),
    [
        ({}, []),
        ({"stolen_ticks": 80}, []),
        ({"stolen_ticks": 124}, ["other virtual machines took 3.1 % of the CPUs' time while measuring"]),
        ({"waited_ns": 5 * 10**8}, []),
        ({"waited_ns": 5 * 10**9}, ["it waited for a CPU for 25.0 % of its time: end what else runs on this machine"]),
        ({"pressure_us": 4_000_000}, []),
        ({"pressure_us": 12_000_000}, ["programs waited for a CPU for 60.0 % of the time: end what else runs"]),
        ({"pressure_us": 90_000_000, "uptime_ms": 50}, []),  # too short to say
        ({"pressure_us": 12_000_000, "waited_ns": 5 * 10**9}, ["it waited for a CPU for 25.0 % of its time"]),  # once
        (
            {"stolen_ticks": 200, "pressure_us": 20_000_000},
            ["other virtual machines took 5.0 %", "100.0 % of the time"],
        ),
    ],
)
def test_who_else_used_the_cpus(more: dict[str, int], said: list[str]) -> None:
    found = contended(BEFORE, later(**more))
    assert len(found) == len(said)
    for sentence, part in zip(found, said, strict=True):
        assert part in sentence


def test_the_quota_that_stopped_it() -> None:
    assert throttled_by_quota(BEFORE, later()) is None
    once = throttled_by_quota(BEFORE, later(throttled_periods=1, throttled_ms=40))
    assert once == "the container's CPU quota stopped this process once while measuring, for 40 ms: give it more CPUs"
    assert "7 times" in str(throttled_by_quota(BEFORE, later(throttled_periods=7)))


def test_quota_disqualifies_and_the_rest_objects(tmp_path: Path) -> None:
    host = host_facts(plant(tmp_path, RUNNER), cpus=[0])
    after = {**device_state(tmp_path, cpus=[0])}
    assert objections(host, after) == []
    worse: dict[str, Any] = {**after["contention"]}
    worse |= {"throttled_periods": 13, "stolen_ticks": 163432, "all_ticks": worse["all_ticks"] + 20000}
    found = objections(host, {**after, "contention": worse})
    assert [sentence.partition(" ")[0] for sentence in found] == ["the", "other"]
    (quota,) = disqualifying(host, {**after, "contention": worse})
    assert "quota" in quota


def test_records_of_older_versions_are_compared_without_it(tmp_path: Path) -> None:
    host = host_facts(plant(tmp_path, RUNNER), cpus=[0])
    after = device_state(tmp_path, cpus=[0])
    old_host, old_after = ({k: v for k, v in one.items() if k != "contention"} for one in (host, after))
    for one, other in ((old_host, old_after), (old_host, after), (host, old_after)):
        assert objections(one, other) == []
    assert contended(None, BEFORE) == contended(BEFORE, None) == contended({}, {"stolen_ticks": "many"}) == []


def test_counters_that_went_back_tell_nothing() -> None:
    assert contended(later(stolen_ticks=900, waited_ns=10**10), BEFORE) == []
    assert throttled_by_quota(later(throttled_periods=5), BEFORE) is None


@settings(max_examples=60, deadline=None)
@given(st.dictionaries(st.sampled_from(sorted({**RUNNER, **OLD})), st.binary(max_size=60) | st.text(max_size=60)))
def test_no_content_of_any_file_is_an_error(content: dict[str, bytes | str]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        root = plant(Path(folder), RUNNER)
        before = contention(root)
        for name, data in content.items():
            path = root / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(data if isinstance(data, bytes) else data.encode("utf-8", "surrogatepass"))
        after = contention(root)
        json.dumps(after)
        assert all(isinstance(sentence, str) for sentence in contended(before, after))


@pytest.mark.skipif(not Path("/proc/thread-self/schedstat").exists(), reason="the kernel has no schedstat here")
def test_this_machine_tells_how_long_this_thread_ran() -> None:
    first = contention(Path("/"))
    sum(range(2_000_000))
    second = contention(Path("/"))
    assert first["ran_ns"] is not None
    assert second["ran_ns"] is not None
    assert second["ran_ns"] > first["ran_ns"]
