"""Options and ini keys: checked before any test runs, and what each changes."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tests.pytest_plugin.conftest import Project

SIZE = """
    def test_size(edgexfer_gate):
        edgexfer_gate("signs.edgx").size_bytes.at_most(1e6)
    """


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--edgexfer-target", "raspbery-pi-5"], "*--edgexfer-target: unknown target*did you mean 'raspberry-pi-5'?*"),
        (["--edgexfer-baseline", "gone.json"], "*--edgexfer-baseline: *gone.json does not exist"),
        (["--edgexfer-seconds", "soon"], "*--edgexfer-seconds is 'soon', expected a number of seconds above 0"),
        (["--edgexfer-inconclusive", "pass"], "*--edgexfer-inconclusive is 'pass', expected one of fail, skip, xfail"),
        (["--edgexfer-json", "."], "*--edgexfer-json: * is a folder: name a file in it"),
        (["--edgexfer-update-baselines"], "*wants a reason for the record: --edgexfer-why TEXT"),
        (["--edgexfer-why", "because"], "*--edgexfer-why goes with --edgexfer-update-baselines"),
    ],
)
def test_what_cannot_be_meant_is_refused_before_a_test_runs(project: Project, arguments: list[str], said: str) -> None:
    project.tests(SIZE)
    done = project.run(*arguments)
    assert done.ret == pytest.ExitCode.USAGE_ERROR
    (line,) = [line for line in done.errlines if line.strip()]
    assert line.startswith("ERROR: ")
    done.stderr.fnmatch_lines([said])


def test_every_option_stands_in_the_help_with_its_ini_key(project: Project) -> None:
    text = project.run("--help").stdout.str()
    for name in ("target", "baseline", "data", "seconds", "json", "inconclusive"):
        assert f"--edgexfer-{name}=" in text
        assert f"edgexfer_{name} (string):" in text
    assert "--edgexfer-update-baselines" in text
    assert "edgexfer_update_baselines" not in text  # never from a file, where nobody sees it


def test_the_ini_file_says_what_the_command_line_does_not(project: Project) -> None:
    project.bundle("signs.edgx")
    project.bundle("old/signs.edgx")
    project.data("sub/images")
    (project.folder / "sub" / "pytest.ini").write_text(
        "[pytest]\nedgexfer_data = images\nedgexfer_json = gates.json\nedgexfer_baseline = ../old/signs.edgx\n"
    )
    project.tests(
        """
        def test_top1(edgexfer_gate):
            gated = edgexfer_gate("../signs.edgx")
            gated.top1.regressed_at_most("20%")
        """,
        "sub/test_sub.py",
    )
    project.run("sub").assert_outcomes(passed=1)
    (result,) = project.record("sub/gates.json")["results"]
    assert "old/signs.edgx" in result["gate"]["baseline"]
    assert str(project.folder / "sub" / "images") in result["gate"]["data"]
    project.run("sub", "--edgexfer-json", "here.json").assert_outcomes(passed=1)
    assert project.record("here.json")["summary"]["pass"] == 1


def test_baselines_below_the_rootdir_are_found(project: Project) -> None:
    project.bundle("signs.edgx")
    (project.folder / "baselines").mkdir()
    (project.folder / "sub").mkdir()
    (project.folder / "pytest.ini").write_text("[pytest]\n")
    project.tests("""
        def test_size(edgexfer_gate):
            edgexfer_gate("signs.edgx").size_bytes.regressed_at_most("1%")
        """)
    done = project.run("--rootdir", ".")
    done.assert_outcomes(failed=1)
    done.stdout.fnmatch_lines([f"E *size_bytes is inconclusive: *{project.folder}/baselines has no baseline of signs*"])


def test_bundles_for_another_target_are_skipped_and_that_alone_is_no_success(project: Project) -> None:
    project.bundle("signs.edgx")
    off = "".join(f"[gates.{name}]\n{kind} = 'off'\n" for name, kind in (("latency_p50_ms", "max_regress"),))
    (project.folder / "test.toml").write_text(
        "title = 'limits of today'\nbackend = 'fake'\ndialect = 'ort'\n[gates.size_bytes]\nmax = 100\n"
        f"max_regress = 'off'\n[gates.top1]\nmax_drop = 'off'\nmax_regress = 'off'\n{off}"
    )
    project.tests("""
        def test_all(edgexfer_gate):
            edgexfer_gate("signs.edgx").holds()
        """)
    done = project.run("--edgexfer-target", "raspberry-pi-5", "--edgexfer-json", "gates.json")
    done.assert_outcomes(skipped=1)
    assert done.ret == pytest.ExitCode.TESTS_FAILED
    done.stdout.fnmatch_lines(
        [
            "not judged: signs.edgx was made for test, not for raspberry-pi-5 (--edgexfer-target)",
            "nothing was judged, which is no success",
        ]
    )
    assert project.record()["summary"]["outcome"] == "inconclusive"
    own = project.run("--edgexfer-target", "test.toml")
    own.assert_outcomes(failed=1)  # by the file's limits of today, not by those inside the bundle
    own.stdout.fnmatch_lines(["  fail         size_bytes *limit: at most 0.0001 MB"])
