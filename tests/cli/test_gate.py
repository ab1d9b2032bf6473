from __future__ import annotations

import json
import xml.etree.ElementTree as ET
from pathlib import Path

import pytest

from tests.bundles import make_bundle
from tests.cli.terminal import Terminal
from tests.gate.images import write_folders

ONLY_SIZE = ("--set", "latency_p50_ms.max_regress=off", "--set", "top1.max_drop=off", "--set", "top1.max_regress=off")


@pytest.fixture
def bundle(tmp_path: Path) -> Path:
    return make_bundle(tmp_path / "made.edgx", backend="fake")


def test_exit_codes_are_those_of_the_design(
    edgexfer: Terminal, bundle: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    held = edgexfer("gate", bundle, "--baseline", bundle, *ONLY_SIZE)
    assert (held.code, held.err) == (0, "")
    assert "pass: 1 pass" in held.out
    broken = edgexfer("gate", bundle, "--baseline", bundle, *ONLY_SIZE, "--set", "size_bytes.max=10")
    assert broken.code == 1
    assert "size_bytes.max fail" in broken.out
    monkeypatch.chdir(tmp_path)  # where no folder is called baselines
    lonely = edgexfer("gate", bundle, "--set", "latency_p50_ms.max_regress=off")
    assert lonely.code == 3
    assert "edgexfer baseline accept" in lonely.out
    nowhere = edgexfer("gate", bundle, "--baseline", tmp_path / "nowhere")
    assert nowhere.code == 2
    assert "does not exist" in nowhere.err
    assert "hint:" in nowhere.err


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("top1.mim=0.9", "min"),
        ("latency_p59_ms.max=3", "latency_p50_ms"),
        ("top1.min", "expected METRIC.KIND=VALUE"),
        ("size_bytes.max=many", "expected a number"),
    ],
)
def test_a_limit_that_makes_no_sense_is_one_line(edgexfer: Terminal, bundle: Path, text: str, said: str) -> None:
    found = edgexfer("gate", bundle, "--set", text)
    assert found.code == 2
    assert said in found.err
    assert "Traceback" not in found.err
    assert found.out == ""


def test_every_file_is_written_whether_it_passed_or_not(edgexfer: Terminal, bundle: Path, tmp_path: Path) -> None:
    data = write_folders(tmp_path / "data", each=20)
    summary = tmp_path / "summary.md"
    summary.write_text("# before\n")
    found = edgexfer(
        "gate", bundle, "--baseline", bundle, "--data", data, "--set", "latency_p50_ms.max_regress=off",
        "--set", "top1.max_drop=off", "--set", "calibration_error.max=0", "--set", "recall.min=0",
        "--junit", tmp_path / "g.xml", "--json", tmp_path / "g.json", "--markdown", summary,
        "--report", tmp_path / "g.html", "--annotations",
    )  # fmt: skip
    assert found.code == 1
    assert "::error" in found.out
    suite = ET.parse(tmp_path / "g.xml").getroot()  # noqa: S314 - written by this test
    assert len(list(suite.iter("testcase"))) == 6  # size, top1 twice, recall of three classes
    assert len(list(suite.iter("failure"))) == 1
    record = json.loads((tmp_path / "g.json").read_text())
    assert (record["kind"], record["summary"]["exit_code"]) == ("gate", 1)
    assert summary.read_text().startswith("# before\n")
    assert "top1" in summary.read_text()
    page = (tmp_path / "g.html").read_text()
    assert "top1" in page
    assert "fail" in page


def test_the_record_on_standard_output_is_json_alone(edgexfer: Terminal, bundle: Path) -> None:
    found = edgexfer("gate", bundle, "--baseline", bundle, *ONLY_SIZE, "--json", "-")
    assert found.code == 0
    assert json.loads(found.out)["verdicts"][0]["outcome"] == "pass"


def test_beside_the_record_on_standard_output_all_else_goes_to_standard_error(
    edgexfer: Terminal, bundle: Path, tmp_path: Path
) -> None:
    page = tmp_path / "g.html"
    found = edgexfer(
        "gate", bundle, "--baseline", bundle, *ONLY_SIZE, "--json", "-", "--annotations", "--report", page
    )  # fmt: skip
    assert found.code == 0
    assert json.loads(found.out)["summary"]["outcome"] == "pass"
    assert f"report: {page}" in found.err
    assert "::notice title=edgexfer gate" in found.err


def test_a_summary_is_appended_to_whatever_is_there(edgexfer: Terminal, bundle: Path, tmp_path: Path) -> None:
    summary = tmp_path / "summary.md"
    summary.write_bytes(b"gr\xfc\xdfe\r\n")
    found = edgexfer("gate", bundle, "--baseline", bundle, *ONLY_SIZE, "--markdown", summary)
    assert (found.code, found.err) == (0, "")
    assert summary.read_bytes().startswith(b"gr\xfc\xdfe\r\n## ")


def test_no_line_of_a_log_begins_with_what_others_named(edgexfer: Terminal, tmp_path: Path) -> None:
    order, label = "::stop-commands::x", f"{'a' * 150} ::stop-commands::y"
    bundle = make_bundle(tmp_path / "made.edgx", backend="fake", name=order, labels=(label, "b", "c"))
    found = edgexfer("gate", bundle, "--baseline", bundle, *ONLY_SIZE, "--set", f"recall:{label}.min=1")
    assert found.code == 3
    assert order in found.out
    assert label in found.out
    assert not [line for line in (found.out + found.err).splitlines() if line.lstrip().startswith("::")]


def test_a_place_that_cannot_be_written_is_told_early(edgexfer: Terminal, bundle: Path, tmp_path: Path) -> None:
    found = edgexfer("gate", bundle, "--junit", tmp_path)
    assert found.code == 2
    assert "folder" in found.err


def test_what_can_have_a_limit_is_listed(edgexfer: Terminal) -> None:
    found = edgexfer("gate", "--metrics")
    assert found.code == 0
    assert {"latency_p95_ms", "peak_memory_mib", "power_w", "recall"} <= set(found.out.split())
