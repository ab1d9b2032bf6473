"""--edgexfer-update-baselines: a person accepts what was measured, with a reason; never CI, never an unfit machine."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tests.pytest_plugin.conftest import Project

pytestmark = pytest.mark.timeout(120)

UPDATE = ["--edgexfer-update-baselines", "--edgexfer-why", "smaller network", "--edgexfer-seconds", "1"]
TESTS = """
    def test_size(edgexfer_gate):
        edgexfer_gate("signs.edgx").size_bytes.regressed_at_most("0%")

    def test_memory(edgexfer_gate):
        edgexfer_gate("signs.edgx").size_bytes.at_most(1e6)

    def test_all(edgexfer_gate):
        edgexfer_gate("signs.edgx").holds()
    """
# What the machine is like at this moment is not what is proven here.
FITNESS = """
    import dataclasses
    import edgexfer.pytest_plugin.judging as judging

    real = judging.propose

    def propose(*arguments, **named):
        return dataclasses.replace(real(*arguments, by="Ada", **named), doubts={doubts!r})

    judging.propose = propose
    """


def test_baselines_are_written_once_and_then_judged_by(project: Project) -> None:
    project.bundle("signs.edgx")
    project.tests(TESTS)
    project.tests(FITNESS.format(doubts=()), "conftest.py")
    project.run().assert_outcomes(failed=2, passed=1)  # there is no baseline yet: inconclusive
    done = project.run(*UPDATE)
    done.assert_outcomes(passed=3)
    (place,) = (project.folder / "baselines").rglob("*.json")
    lines = [line for line in done.outlines if line.startswith("accepted: ")]
    assert len(lines) == 1
    assert lines[0].startswith(f"accepted: {place}, by Ada: latency_p50_ms ")
    assert json.loads(place.read_text())["accepted"]["why"] == "smaller network"
    project.run().assert_outcomes(passed=3)
    project.bundle("signs.edgx", size=16, labels=tuple("abcdefgh"))  # a larger network than was accepted
    project.run().assert_outcomes(failed=2, passed=1)
    again = project.run(*UPDATE)
    again.assert_outcomes(passed=3)
    again.stdout.fnmatch_lines(["accepted: *size_bytes * (was *"])


def test_an_unfit_machine_writes_nothing(project: Project) -> None:
    project.bundle("signs.edgx")
    project.tests(TESTS)
    project.tests(FITNESS.format(doubts=("the CPU was throttled",)), "conftest.py")
    done = project.run(*UPDATE)
    done.assert_outcomes(failed=2, passed=1)
    done.stdout.fnmatch_lines(["error: the baseline is not written, *the CPU was throttled; hint: *--force`"])
    assert not list(project.folder.rglob("baselines/**/*.json"))


def test_ci_writes_nothing(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    project.bundle("signs.edgx")
    project.tests(TESTS)
    monkeypatch.setenv("CI", "true")
    done = project.run(*UPDATE)
    assert done.ret == pytest.ExitCode.USAGE_ERROR
    done.stderr.fnmatch_lines(["ERROR: --edgexfer-update-baselines in CI (CI=true): nobody would review it; *"])
    assert not (project.folder / "baselines").exists()


def test_a_bundle_is_no_place_for_baselines(project: Project) -> None:
    project.bundle("signs.edgx")
    project.bundle("old.edgx")
    before = sorted(path.name for path in (project.folder / "old.edgx").iterdir())
    project.tests(TESTS)
    done = project.run(*UPDATE, "--edgexfer-baseline", "old.edgx")
    done.assert_outcomes(failed=2, passed=1)
    done.stdout.fnmatch_lines(["error: *old.edgx is no folder of baselines, where one could be written"])
    assert sorted(path.name for path in (project.folder / "old.edgx").iterdir()) == before


def test_a_new_baseline_passes_whatever_lies_in_the_working_folder(project: Project) -> None:
    (project.folder / "pytest.ini").write_text("[pytest]\n")
    project.bundle("signs.edgx")
    project.tests(TESTS)
    project.tests(FITNESS.format(doubts=()), "conftest.py")
    project.run(*UPDATE).assert_outcomes(passed=3)
    (place,) = (project.folder / "baselines").rglob("*.json")
    damaged = project.folder / "elsewhere" / place.relative_to(project.folder)
    damaged.parent.mkdir(parents=True)
    damaged.write_text("{")
    project.run(*UPDATE, folder="elsewhere").assert_outcomes(passed=3)
    project.run(folder="elsewhere").assert_outcomes(passed=3)


def test_a_rootdir_without_baselines_has_none(project: Project) -> None:
    (project.folder / "pytest.ini").write_text("[pytest]\n")
    project.bundle("signs.edgx")
    project.bundle("elsewhere/baselines/old.edgx")
    (project.folder / "elsewhere" / "baselines" / "damaged.json").write_text("{")
    project.tests(TESTS)
    done = project.run("-k", "test_size", folder="elsewhere")
    done.assert_outcomes(failed=1)
    done.stdout.fnmatch_lines(["*size_bytes is inconclusive: there is no baseline: * --edgexfer-update-baselines *"])


def test_one_baseline_is_of_one_set_of_images(project: Project) -> None:
    project.bundle("signs.edgx")
    project.data("one")
    project.data("two")
    project.tests("""
        import pytest

        @pytest.mark.parametrize("data", ["one", "two"])
        def test_accurate(edgexfer_gate, data):
            edgexfer_gate("signs.edgx", data=data).top1.regressed_at_most("1%")

        def test_size(edgexfer_gate):
            edgexfer_gate("signs.edgx").size_bytes.regressed_at_most("0%")
        """)
    project.tests(FITNESS.format(doubts=()), "conftest.py")
    done = project.run(*UPDATE)
    done.assert_outcomes(failed=1, passed=2)
    done.stdout.fnmatch_lines(["error: the baseline of signs.edgx was accepted with */one, this test * on */two: *"])
