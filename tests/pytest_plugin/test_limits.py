"""Limits in tests: held, broken, undecided and mistaken, each said in words that help."""

from __future__ import annotations

import os
import shutil
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tests.pytest_plugin.conftest import Project

pytestmark = pytest.mark.timeout(120)


def test_limits_that_hold_pass_and_give_their_numbers(project: Project) -> None:
    project.bundle("signs.edgx")
    project.data()
    project.tests("""
        def test_figures(edgexfer_gate):
            gated = edgexfer_gate("signs.edgx")
            assert gated.top1.at_least("95%").verdicts[0].value == 1.0
            gated.macro_f1.at_least(0.9)
            gated.recall["b"].at_least(0.9)
            assert len(gated.recall.at_least(0.9).verdicts) == 3
            assert gated.bundle.labels == ("a", "b", "c")
            assert {"holds", "top1", "latency_p95_ms"} <= set(dir(gated))

        def test_size(edgexfer_gate):
            edgexfer_gate("signs.edgx", baseline="signs.edgx").size_bytes.regressed_at_most("0%")
        """)
    done = project.run("--edgexfer-data", "data", "--edgexfer-json", "gates.json", "--junitxml=junit.xml")
    done.assert_outcomes(passed=2)
    assert done.ret == 0
    done.stdout.fnmatch_lines(
        [
            "*= edgexfer =*",
            "bundle signs (float32, fake 1) on *",
            "  pass         top1                     100.00 %, limit: at least 95 %",
            "  pass         recall:b *",
            "  pass         size_bytes *, limit: not larger than the baseline",
        ]
    )
    record = project.record()
    assert (record["kind"], record["summary"]["outcome"]) == ("gates", "pass")
    assert record["summary"]["pass"] == 7
    assert [entry["test"] for entry in record["results"]].count("test_model.py::test_figures") == 4
    properties = project.properties("test_figures")
    assert properties["edgexfer.top1.min"] == "pass"
    assert properties["edgexfer.top1.min.value"] == "1.0"
    assert properties["edgexfer.top1.min.limit"] == "0.95"
    assert properties["edgexfer.recall:b.min.value"] == "1.0"


def test_a_broken_limit_fails_with_its_figures_and_no_code_of_ours(project: Project) -> None:
    project.bundle("signs.edgx")
    project.tests("""
        def test_size(edgexfer_gate):
            edgexfer_gate("signs.edgx").size_bytes.at_most(100)
        """)
    done = project.run("--junitxml=junit.xml")
    done.assert_outcomes(failed=1)
    assert done.ret == pytest.ExitCode.TESTS_FAILED
    done.stdout.fnmatch_lines(
        [
            '>*edgexfer_gate("signs.edgx").size_bytes.at_most(100)',
            "E *Failed: size_bytes does not hold: *",
            "E *0.000*MB, limit: at most 0.0001 MB",
            "E * bundle signs (float32, fake 1) on *",
            "  fail         size_bytes *",
        ]
    )
    assert "/edgexfer/pytest_plugin/" not in done.stdout.str()
    assert "/edgexfer/gate/" not in done.stdout.str()
    assert project.properties("test_size")["edgexfer.size_bytes.max"] == "fail"


def test_images_that_flipped_are_shown_whatever_their_names(project: Project) -> None:
    project.bundle("old.edgx")
    project.bundle("new.edgx", labels=("b", "a", "c"))  # the same network with its first two classes exchanged
    shutil.copy(project.data() / "a" / "0.png", os.fsencode(project.folder / "data" / "a") + b"/\xff\n.png")
    project.tests("""
        def test_recall(edgexfer_gate):
            edgexfer_gate("new.edgx").recall["a"].regressed_at_most("1%")
        """)
    arguments = ["--edgexfer-data", "data", "--edgexfer-baseline", "old.edgx", "--edgexfer-json", "gates.json"]
    for workers in ([], ["-n", "1"]):
        done = project.run(*arguments, *workers, "--junitxml=junit.xml")
        done.assert_outcomes(failed=1)
        done.stdout.fnmatch_lines(["E *Failed: recall:a *", "E * a/1.png: a, was a, now b (lost)", "E * and * more *"])
        assert project.properties("test_recall")["edgexfer.recall:a.max_regress"] == "fail"
        (result,) = project.record()["results"]
        assert "a/1.png" in {flip["path"] for flip in result["gate"]["flips"]}


def test_a_slower_bundle_fails_and_tests_of_one_bundle_share_samples(project: Project) -> None:
    project.bundle("old.edgx", latency_ms=1.0)
    project.bundle("new.edgx", latency_ms=2.0)
    project.tests("""
        def test_slower(edgexfer_gate):
            edgexfer_gate("new.edgx").latency_p50_ms.regressed_at_most("5%")

        def test_fewer(edgexfer_gate):
            edgexfer_gate("new.edgx").throughput_images_per_s.regressed_at_most("5%")
        """)
    arguments = ["--edgexfer-baseline", "old.edgx", "--edgexfer-seconds", "4", "--edgexfer-json", "gates.json"]
    done = project.run(*arguments, "--junitxml=junit.xml")
    done.assert_outcomes(failed=2)
    done.stdout.fnmatch_lines(["E *Failed: latency_p50_ms does not hold: +*%*", "E * ms, baseline * ms, *limit: *"])
    numbers = project.properties("test_slower")
    assert numbers["edgexfer.latency_p50_ms.max_regress"] == "fail"
    assert float(numbers["edgexfer.latency_p50_ms.max_regress.low"]) > 0.05
    assert float(numbers["edgexfer.latency_p50_ms.max_regress.reference"]) > 1.0
    assert int(numbers["edgexfer.latency_p50_ms.max_regress.blocks"]) >= 24
    again = project.record()["results"][1]["gate"]
    assert again["verdicts"][0]["outcome"] == "fail"
    assert again["seconds"] < 0.5 * project.record()["results"][0]["gate"]["seconds"]  # nothing was measured again


def test_holds_judges_what_the_target_and_the_standard_ask(project: Project) -> None:
    project.bundle("signs.edgx", gates={"size_bytes": {"max": 100}})
    project.tests("""
        def test_all(edgexfer_gate):
            edgexfer_gate("signs.edgx", baseline="signs.edgx").holds()
        """)
    done = project.run("--edgexfer-json", "gates.json")
    done.assert_outcomes(failed=1)
    (result,) = project.record()["results"]
    found = {(v["limit"]["kind"], v["limit"]["source"]): v["outcome"] for v in result["gate"]["verdicts"]}
    assert found == {("max_regress", "standard"): "pass", ("max", "target test"): "fail"}


@pytest.mark.parametrize(
    ("arguments", "outcomes", "code"),
    [
        ([], {"failed": 1}, 1),
        (["--edgexfer-inconclusive=skip"], {"skipped": 1}, 0),
        (["--edgexfer-inconclusive=xfail"], {"xfailed": 1}, 0),
        (["--edgexfer-inconclusive=xfail", "--runxfail"], {"failed": 1}, 1),
    ],
)
def test_what_nothing_can_be_said_of_never_passes(
    project: Project, arguments: list[str], outcomes: dict[str, int], code: int
) -> None:
    project.bundle("signs.edgx")
    project.tests("""
        def test_top1(edgexfer_gate):
            edgexfer_gate("signs.edgx").top1.at_least(0.9)
        """)
    done = project.run("-vra", *arguments)
    done.assert_outcomes(**outcomes)
    assert done.ret == code
    text = done.stdout.str()
    assert "\n  inconclusive top1 " in text
    assert (
        "top1 is inconclusive: the bundle records no answers from its export: give images with --edgexfer-data" in text
    )


MISTAKES = {
    'edgexfer_gate("sing.edgx").holds()': "error: 'sing.edgx' is not in *; hint: *",
    'edgexfer_gate("data").holds()': "error: *data is not a bundle: *; hint: *",
    'edgexfer_gate("signs.edgx").recall["d"].at_least(1)': "error: * has no class 'd'; hint: *known: a, b, c",
    'edgexfer_gate("signs.edgx").top1["a"].at_least(1)': "error: top1 is no figure of single classes; hint: *",
    'edgexfer_gate("signs.edgx").top1.at_least("high")': "error: *[[]call*]: top1.min is 'high', expected a number*",
    'edgexfer_gate("signs.edgx").top1.at_least("off")': "error: * top1.min is 'off', expected a number",
    'edgexfer_gate("signs.edgx").size_bytes.dropped_at_most(1)': "error: *max_drop is against the float network*",
    'edgexfer_gate("signs.edgx", data="no").top1.at_least(1)': "error: 'no' is not in *",
    'edgexfer_gate("signs.edgx").latency_95_ms': "E *AttributeError: *did you mean 'latency_p95_ms'? known: *",
}


def test_mistakes_are_told_in_one_line(project: Project) -> None:
    project.bundle("signs.edgx")
    (project.folder / "data").mkdir()
    project.tests(f"""
        import pytest

        @pytest.mark.parametrize("call", {list(MISTAKES)!r}, ids=[f"call{{n}}" for n in range({len(MISTAKES)})])
        def test_it(edgexfer_gate, call):
            eval(call)
        """)
    done = project.run()
    done.assert_outcomes(failed=len(MISTAKES))
    for said in MISTAKES.values():
        done.stdout.fnmatch_lines([said])
    assert "During handling" not in done.stdout.str()
    assert "/edgexfer/" not in done.stdout.str()


def test_a_gate_that_could_not_judge_is_no_pass_in_the_record(project: Project) -> None:
    project.bundle("signs.edgx")
    (project.folder / "damaged.json").write_text('{"kind": "baseline"')
    project.tests("""
        import pytest

        def test_size(edgexfer_gate):
            edgexfer_gate("signs.edgx").size_bytes.at_most(1e6)

        def test_regress(edgexfer_gate):
            edgexfer_gate("signs.edgx", baseline="damaged.json").size_bytes.regressed_at_most("1%")

        def test_gone(edgexfer_gate):
            edgexfer_gate("gone.edgx").holds()

        @pytest.mark.xfail
        def test_class(edgexfer_gate):
            edgexfer_gate("signs.edgx").recall["typo"].at_least(0.5)

        def test_own(edgexfer_gate):
            assert edgexfer_gate("signs.edgx").size_bytes.at_most(1e6).verdicts[0].value < 1

        def test_broken(edgexfer_gate):
            edgexfer_gate("signs.edgx").size_bytes.at_most(1)
        """)
    done = project.run("--edgexfer-json", "gates.json", "--deselect", "test_model.py::test_broken")
    done.assert_outcomes(passed=1, failed=3, xfailed=1, deselected=1)
    record = project.record()
    assert (record["summary"]["outcome"], record["summary"]["exit_code"]) == ("inconclusive", 3)
    told = {entry["test"].rpartition("::")[2]: entry["error"] for entry in record["errors"]}
    assert set(told) == {"test_regress", "test_gone", "test_class", "test_own"}
    assert "damaged.json" in told["test_regress"]
    done.stdout.fnmatch_lines(["error: test_model.py::test_gone: 'gone.edgx' is not in *"])
    project.run("--edgexfer-json", "gates.json")
    assert (project.record()["summary"]["outcome"], project.record()["summary"]["exit_code"]) == ("fail", 1)
    assert len(project.record()["errors"]) == 4  # the broken limit has a verdict


def test_a_bundle_is_found_beside_the_test_and_below_the_rootdir(project: Project) -> None:
    project.bundle("root.edgx")
    project.bundle("sub/own.edgx")
    (project.folder / "pytest.ini").write_text("[pytest]\n")
    project.tests(
        """
        import pytest

        @pytest.mark.parametrize("place", ["own.edgx", "root.edgx", "sub/own.edgx"])
        def test_it(edgexfer_gate, place):
            edgexfer_gate(place).size_bytes.at_most("100000")
        """,
        "sub/test_sub.py",
    )
    project.run("sub").assert_outcomes(passed=3)
