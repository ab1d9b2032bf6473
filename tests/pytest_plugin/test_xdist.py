"""Several workers of pytest-xdist: one measures at a time, and what they judged is printed and written once."""

from __future__ import annotations

import json
from itertools import pairwise
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tests.pytest_plugin.conftest import Project

pytest.importorskip("xdist", reason="pytest-xdist is not installed (pip install 'edgexfer[dev]')")

TESTS = """
    import json, os, pathlib, time
    import pytest
    import edgexfer.pytest_plugin.judging as judging

    real = judging.judge

    @pytest.fixture(autouse=True)
    def watched(monkeypatch):
        def timed(*arguments, **named):
            started = time.monotonic()
            time.sleep(0.2)
            result = real(*arguments, **named)
            path = pathlib.Path(f"span-{os.getpid()}-{time.monotonic_ns()}.json")
            path.write_text(json.dumps([started, time.monotonic(), os.environ["PYTEST_XDIST_WORKER"]]))
            return result
        monkeypatch.setattr(judging, "judge", timed)

    @pytest.mark.parametrize("number", range(6))
    def test_size(edgexfer_gate, number):
        edgexfer_gate("signs.edgx").size_bytes.at_most(100 if number == 3 else 1e6)
    """


def test_one_worker_judges_at_a_time_and_all_is_told_once(project: Project) -> None:
    project.bundle("signs.edgx")
    project.tests(TESTS)
    done = project.run("-n", "2", "--edgexfer-json", "gates.json", "--junitxml=junit.xml", "--strict-markers")
    done.assert_outcomes(passed=5, failed=1)
    spans = sorted(spans_of(project))
    assert len(spans) == 6
    assert {worker for *_, worker in spans} == {"gw0", "gw1"}
    assert all(earlier[1] <= later[0] for earlier, later in pairwise(spans))
    text = done.stdout.str()
    assert text.count("= edgexfer =") == 1
    assert text.count("\n  pass         size_bytes") == 5
    assert text.count("\n  fail         size_bytes") == 1
    record = project.record()
    assert (record["summary"]["outcome"], record["summary"]["pass"], record["summary"]["fail"]) == ("fail", 5, 1)
    assert {entry["test"] for entry in record["results"]} == {f"test_model.py::test_size[{n}]" for n in range(6)}
    assert project.properties("test_size[3]")["edgexfer.size_bytes.max"] == "fail"


def test_gates_are_one_group_and_by_file_one_worker_judges_them(project: Project) -> None:
    """Not by `--dist loadgroup`: pytest 9.2 broke it for everyone (pytest-dev/pytest-xdist#1386)."""
    project.bundle("signs.edgx")
    project.tests(f"""{TESTS}
    def test_group(edgexfer_gate, request):
        assert request.node.get_closest_marker("xdist_group").args == ("edgexfer",)

    @pytest.mark.xdist_group("mine")
    def test_own_group(edgexfer_gate, request):
        assert [mark.args for mark in request.node.iter_markers("xdist_group")] == [("mine",)]

    def test_others(request):
        assert request.node.get_closest_marker("xdist_group") is None
    """)
    project.run("-n", "2", "--dist", "loadfile", "--strict-markers").assert_outcomes(passed=8, failed=1)
    assert len({worker for *_, worker in spans_of(project)}) == 1


def test_only_for_another_target_is_no_success_with_workers_either(project: Project) -> None:
    project.bundle("signs.edgx")
    project.tests("def test_it(edgexfer_gate):\n    edgexfer_gate('signs.edgx').holds()\n")
    done = project.run("-n", "1", "--edgexfer-target", "raspberry-pi-5")
    done.assert_outcomes(skipped=1)
    assert done.ret == pytest.ExitCode.TESTS_FAILED


def test_baselines_are_not_updated_by_several_at_once(project: Project) -> None:
    project.tests("def test_it(edgexfer_gate):\n    edgexfer_gate('signs.edgx').holds()\n")
    done = project.run("-n", "2", "--edgexfer-update-baselines", "--edgexfer-why", "new network")
    assert done.ret == pytest.ExitCode.USAGE_ERROR
    done.stderr.fnmatch_lines(["ERROR: --edgexfer-update-baselines wants one process: give -n 0"])


def spans_of(project: Project) -> list[tuple[float, float, str]]:
    """When each judging began and ended, and in which worker."""
    return [tuple(json.loads(path.read_text())) for path in project.folder.glob("span-*.json")]
