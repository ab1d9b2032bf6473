from __future__ import annotations

import json
import platform
import shutil
from pathlib import Path
from typing import Any

import pytest

from edgexfer.core.errors import ArtifactError, SettingsError
from edgexfer.core.manifest import MANIFEST, write_manifest
from edgexfer.gate.judge.judge import judge
from edgexfer.gate.judge.limits import limits_of, parse_limit
from edgexfer.gate.judge.verdict import GateResult, Limit, Verdict, gate_result_from_json
from edgexfer.gate.measure.evaluate import evaluate
from edgexfer.gate.measure.measured import Measured, write_measured
from edgexfer.gate.metrics import METRICS, metric
from tests.bundles import make_bundle
from tests.gate.images import COLOURS, write_folders, write_image
from tests.gate.judge.simulated import Machine, evidence_of


def limit(key: str, value: str | float) -> Limit:
    made = parse_limit(key, value, "test")
    assert made is not None
    return made


def fake(folder: Path, **options: Any) -> Path:
    return make_bundle(folder, backend="fake", **options)


def remade(bundle: Path, **changed: Any) -> Path:
    """Writes the manifest of a bundle anew with other content, as an export would have."""
    manifest = json.loads((bundle / MANIFEST).read_text())
    kept = {k: v for k, v in manifest.items() if k not in ("kind", "format_version", "files", "digest", "versions")}
    (bundle / MANIFEST).unlink()
    write_manifest(bundle, "bundle", {**kept, **changed})
    return bundle


def by_key(result: GateResult) -> dict[str, Verdict]:
    return {verdict.limit.key: verdict for verdict in result.verdicts}


def test_the_standard_limits_hold_for_a_bundle_against_itself(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("edgexfer.gate.judge.stability.disqualifying", lambda *_: [])
    data = write_folders(tmp_path / "data", each=40)
    bundle = fake(tmp_path / "a.edgx")
    seen = evidence_of(bundle, Machine())
    seen.data = data
    result = judge(bundle, evidence=seen)
    found = by_key(result)
    assert set(found) == {
        "latency_p50_ms.max_regress", "top1.max_drop", "top1.max_regress", "size_bytes.max_regress"
    }  # fmt: skip
    assert found["latency_p50_ms.max_regress"].outcome == "pass"
    assert found["size_bytes.max_regress"].outcome == "pass"
    assert found["top1.max_regress"].outcome == "pass"
    # This bundle records nothing of a float network, and says so.
    assert found["top1.max_drop"].outcome == "inconclusive"
    assert "float" in found["top1.max_drop"].reason
    assert (result.outcome, result.exit_code) == ("inconclusive", 3)
    assert result.flips == ()
    assert "120 images" in result.data


def test_the_record_comes_back_as_it_was(tmp_path: Path) -> None:
    bundle = fake(tmp_path / "a.edgx")
    result = judge(bundle, baseline=bundle, limits=[limit("size_bytes.max", 1)], seconds=0.1)
    again = gate_result_from_json(json.loads(json.dumps(result.to_json())), "here")
    assert again.verdicts == result.verdicts
    assert again.outcome == "fail"
    with pytest.raises(ArtifactError, match="format_version 9"):
        gate_result_from_json({**result.to_json(), "format_version": 9}, "here")
    with pytest.raises(ArtifactError, match="gate --json"):
        gate_result_from_json({"kind": "latency"}, "here")


def test_without_a_baseline_nothing_passes_that_needs_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    result = judge(fake(tmp_path / "a.edgx"), limits=[limit("latency_p50_ms.max_regress", "2%")], seconds=0.1)
    assert result.outcome == "inconclusive"
    assert "edgexfer baseline accept" in result.verdicts[0].reason


def test_a_folder_without_a_fitting_baseline_says_what_is_missing(tmp_path: Path) -> None:
    (tmp_path / "baselines").mkdir()
    result = judge(
        fake(tmp_path / "a.edgx"),
        baseline=tmp_path / "baselines",
        limits=[limit("latency_p50_ms.max_regress", "2%"), limit("size_bytes.max_regress", 0)],
        seconds=0.1,
    )
    assert {verdict.outcome for verdict in result.verdicts} == {"inconclusive"}
    assert "no baseline of tiny for test" in result.verdicts[0].reason


def test_a_baseline_that_is_not_there_or_not_readable_is_the_users_mistake(tmp_path: Path) -> None:
    bundle = fake(tmp_path / "a.edgx")
    with pytest.raises(SettingsError, match="does not exist"):
        judge(bundle, baseline=tmp_path / "nowhere")
    (tmp_path / "broken.json").write_text('{"kind": "baseline", "format_version"')
    with pytest.raises(ArtifactError, match="not valid JSON"):
        judge(bundle, baseline=tmp_path / "broken.json")
    other = shutil.copytree(bundle, tmp_path / "b.edgx")
    (other / "model.onnx").write_bytes(b"changed")
    with pytest.raises(ArtifactError, match="was changed"):
        judge(bundle, baseline=other)


def test_times_of_another_machine_than_the_targets_are_never_judged(tmp_path: Path) -> None:
    bundle = fake(tmp_path / "a.edgx")
    target = json.loads((bundle / MANIFEST).read_text())["target"]
    foreign = "aarch64" if platform.machine() != "aarch64" else "x86_64"
    remade(bundle, target={**target, "host": {"machine": foreign}})
    limits = [limit(key, 1e9) for key in ("latency_p50_ms.max", "load_ms.max", "power_w.max")]
    result = judge(bundle, baseline=bundle, limits=limits)
    assert [verdict.outcome for verdict in result.verdicts] == ["inconclusive"] * 3
    assert foreign in result.verdicts[0].reason
    assert result.seconds < 20


def test_times_of_a_simulated_target_are_never_judged(tmp_path: Path) -> None:
    bundle = make_bundle(tmp_path / "a.edgx", backend="tensorrt", dialect="tensorrt")
    result = judge(bundle, backend="fake", limits=[limit("latency_p50_ms.max", 1e9), limit("size_bytes.max", 1e9)])
    assert [verdict.outcome for verdict in result.verdicts] == ["inconclusive", "pass"]
    assert "simulates" in result.verdicts[0].reason


def test_a_metric_is_one_decorated_function(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("edgexfer.gate.metrics.METRICS", METRICS)

    @metric(unit="files", better="lower", of="bundle")
    def files_in_bundle(bundle: Any) -> float:
        """How many files there are."""
        return float(len(bundle.manifest["files"]))

    try:
        bundle = fake(tmp_path / "a.edgx")
        found = judge(bundle, baseline=bundle, limits=[limit("files_in_bundle.max_regress", 0)]).verdicts[0]
        assert (found.outcome, found.value, found.change) == ("pass", 3, 0)
        assert judge(bundle, limits=[limit("files_in_bundle.max", 2)]).outcome == "fail"
    finally:
        del METRICS["files_in_bundle"]


def test_a_baseline_of_other_classes_is_no_matter_of_absolute_limits(tmp_path: Path) -> None:
    data = write_folders(tmp_path / "data", each=20)
    other = fake(tmp_path / "b.edgx", labels=("x", "y", "z"))
    result = judge(fake(tmp_path / "a.edgx"), baseline=other, data=data, limits=[limit("top1.min", 0.5)])
    assert result.verdicts[0].outcome in ("pass", "fail")
    assert result.flips == ()


def test_new_images_judge_the_drop_from_float_by_what_was_recorded(tmp_path: Path) -> None:
    bundle = fake(tmp_path / "a.edgx")
    old = evaluate(bundle, write_folders(tmp_path / "old", each=20))
    write_measured(bundle, [Measured("float32", old, None, 1, shipped=True)])
    remade(bundle)
    fresh = tmp_path / "fresh"
    for number, (label, colour) in enumerate([*COLOURS.items()] * 30):
        write_image(fresh / label / f"{number}.png", colour, seed=5000 + number)
    result = judge(bundle, data=fresh, limits=[limit("top1.max_drop", "1%"), limit("top1.min", 0.5)])
    drop, least = result.verdicts
    assert drop.outcome == least.outcome == "pass"
    assert "recorded at export" in drop.reason
    assert "90 images" in result.data


def test_a_larger_file_fails_by_its_size(tmp_path: Path) -> None:
    old, new = fake(tmp_path / "a.edgx"), fake(tmp_path / "b.edgx")
    documented = b"\x32\xc5\x01" + b"x" * 197  # ModelProto's doc_string
    (new / "model.onnx").write_bytes((new / "model.onnx").read_bytes() + documented)
    remade(new)
    found = judge(new, baseline=old, limits=[limit("size_bytes.max_regress", "10%")]).verdicts[0]
    assert found.outcome == "fail"
    assert found.change == pytest.approx(200 / (old / "model.onnx").stat().st_size)


def test_a_bundle_without_recorded_answers_asks_for_images(tmp_path: Path) -> None:
    bundle = fake(tmp_path / "a.edgx")
    found = judge(bundle, limits=[limit("top1.min", 0.5)]).verdicts[0]
    assert found.outcome == "inconclusive"
    assert "--data" in found.reason


def test_limits_come_from_everywhere_and_the_last_word_counts() -> None:
    gates = {"latency_p95_ms": {"max": 12.0, "max_regress": "5%"}, "recall:b": {"min": 0.9}, "top1": {"max_drop": 0.02}}
    found = {one.key: one for one in limits_of(gates, ["latency_p95_ms.max=9", "size_bytes.max_regress=off"])}
    assert (found["latency_p95_ms.max"].value, found["latency_p95_ms.max"].source) == (9.0, "--set")
    assert found["latency_p95_ms.max_regress"].relative
    assert found["latency_p95_ms.max_regress"].value == 0.05
    assert (found["recall:b.min"].label, found["recall:b.min"].source) == ("b", "target")
    assert found["top1.max_drop"].value == 0.02
    assert not found["top1.max_drop"].relative
    assert found["latency_p50_ms.max_regress"].source == "standard"
    assert "size_bytes.max_regress" not in found


@pytest.mark.parametrize(
    ("key", "value", "said"),
    [
        ("latency_p59_ms.max", 1, "latency_p50_ms"),
        ("top1.maximum", 1, "max"),
        ("top1", 1, "unknown metric"),
        ("top1.max_drop", "a lot", "expected a number"),
        ("top1.max_drop", True, "expected a number"),
        ("top1.max_drop", -0.1, "0 or more"),
        ("latency_p50_ms.max", "5%", "in ms"),
        ("latency_p50_ms.max_drop", 0.1, "max_regress"),
        ("top1:stop.min", 0.9, "single classes"),
        ("top1.min", "1e999", "expected a number"),
    ],
)
def test_a_limit_that_makes_no_sense_is_explained(key: str, value: Any, said: str) -> None:
    with pytest.raises(SettingsError) as caught:
        parse_limit(key, value, "--set")
    assert said in f"{caught.value.message} {caught.value.hint}"


def test_a_table_that_is_none_is_explained() -> None:
    with pytest.raises(SettingsError, match=r"expected a table"):
        limits_of({"top1": 0.9})
    with pytest.raises(SettingsError, match=r"METRIC\.KIND=VALUE"):
        limits_of({}, ["top1.min"])
