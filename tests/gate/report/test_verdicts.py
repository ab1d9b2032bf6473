"""Verdicts on the page: what a gate decided about this bundle, and about no other one."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import pytest

from edgexfer.core.errors import ArtifactError
from edgexfer.gate.judge.verdict import GateResult, Verdict
from edgexfer.gate.report.page import report
from edgexfer.gate.report.verdicts import read_gate, verdict_drawing, verdict_rows
from tests.gate.report.made import HOSTILE, Parsed, digest_of, limit, made_bundle, subject, verdicts

pytest.importorskip("matplotlib", reason="matplotlib is not installed (pip install 'edgexfer[report]')")


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return made_bundle(tmp_path_factory.mktemp("verdicts") / "tiny.edgx")


def test_verdicts_are_read_back_and_shown(bundle: Path, tmp_path: Path) -> None:
    (tmp_path / "gate.json").write_text(json.dumps(verdicts(bundle).to_json()), encoding="utf-8")
    gate = read_gate(tmp_path / "gate.json")
    assert gate == verdicts(bundle)
    page = Parsed(report(bundle, tmp_path / "page.html", gate=gate))
    assert page.text.index("Failed") < page.text.index("Verdicts")
    assert f"1 passed, 1 failed, 1 inconclusive against last {HOSTILE}" in page.text
    assert "✗ fail latency_p50_ms at most 2 % slower than the baseline (by standard)" in page.text
    assert "4.85 ms 4.70 ms +3.1 % (+2.4 to +3.9)" in page.text
    assert "10.6 ms (10.3 ms to 10.9 ms)" in page.text
    assert "? inconclusive top1 at most 1 point below the baseline" in page.text
    assert "Verdicts: the machine was warm" in page.text
    assert "Flipped against the baseline" in page.text
    assert "gone/nowhere.jpg" in page.text


def test_what_failed_comes_first(bundle: Path) -> None:
    assert [row.outcome for row in verdict_rows(verdicts(bundle))] == ["fail", "inconclusive", "pass"]


def test_changes_are_drawn_as_parts_of_their_limits(bundle: Path) -> None:
    drawing = verdict_drawing(verdicts(bundle))
    assert drawing is not None
    assert "latency_p50_ms.max_regress at 1.55 of its limit: fail" in drawing.svg
    assert "latency_p95_ms" not in drawing.svg


def test_a_drop_is_worse_where_more_is_better() -> None:
    lost = Verdict(limit("top1.max_regress", "1%"), "fail", "lost", 0.9, 0.92, -0.02, -0.03, -0.01)
    drawing = verdict_drawing(GateResult(subject("int8"), (lost,)))
    assert drawing is not None
    assert "top1.max_regress at 2.00 of its limit" in drawing.svg


def test_no_comparison_is_no_drawing() -> None:
    absolute = Verdict(limit("latency_p95_ms.max", 12), "pass", "fits", 10.0)
    nothing_allowed = Verdict(limit("top1.max_drop", 0), "fail", "lost", 0.9, 0.92, -0.02)
    assert verdict_drawing(GateResult(subject("int8"), (absolute, nothing_allowed))) is None


def test_nothing_judged_is_inconclusive(bundle: Path, tmp_path: Path) -> None:
    empty = GateResult(subject("int8", digest_of(bundle)), ())
    text = Parsed(report(bundle, tmp_path / "page.html", gate=empty)).text
    assert "Inconclusive" in text
    assert "Without a baseline" in text


def test_verdicts_on_another_bundle_are_refused(bundle: Path, tmp_path: Path) -> None:
    other = dataclasses.replace(verdicts(bundle), subject=subject("int8", "b" * 64))
    with pytest.raises(ArtifactError, match=f"{'b' * 64}.*{digest_of(bundle)}"):
        report(bundle, tmp_path / "page.html", gate=other)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("{", "not valid JSON"),
        ('{"kind": "latency"}', "is not what `edgexfer gate --json` writes"),
        ('{"kind": "gate", "format_version": 9}', "format_version 9, this edgexfer reads 1"),
        ('{"kind": "gate", "format_version": 1, "verdicts": 3}', "gate.json"),
    ],
)
def test_files_that_hold_no_verdicts_are_refused(tmp_path: Path, content: str, message: str) -> None:
    (tmp_path / "gate.json").write_text(content, encoding="utf-8")
    with pytest.raises(ArtifactError, match=message):
        read_gate(tmp_path / "gate.json")


def test_verdicts_on_metrics_of_another_version_are_refused(bundle: Path, tmp_path: Path) -> None:
    with pytest.raises(ArtifactError, match="cannot read"):
        read_gate(tmp_path / "nothing.json")
    record = json.loads(json.dumps(verdicts(bundle).to_json()))
    record["verdicts"][0]["limit"]["metric"] = "karma"
    (tmp_path / "gate.json").write_text(json.dumps(record), encoding="utf-8")
    with pytest.raises(ArtifactError, match="judges 'karma', which this edgexfer does not know"):
        read_gate(tmp_path / "gate.json")
