"""Gates on photographs: a network whose weights were slightly damaged fails, one that differs in one image does not."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from edgexfer.core.bundle import MODEL
from edgexfer.core.manifest import MANIFEST, write_manifest
from edgexfer.gate.judge.image_by_image import flips
from edgexfer.gate.judge.judge import judge
from edgexfer.gate.judge.limits import Limit
from edgexfer.gate.judge.verdict import GateResult
from edgexfer.gate.measure.evaluate import evaluate

# The bundle may have to be made first.
pytestmark = [pytest.mark.train, pytest.mark.acceptance, pytest.mark.timeout(1800)]

LIMIT = Limit("top1", "max_regress", 0.01, source="a test")


def damaged(bundle: Path, out: Path, *, share: float, reach: int, seed: int) -> Path:
    """Copies a bundle and moves `share` of its INT8 weights by up to `reach` steps; its manifest vouches for it."""
    import onnx
    from onnx import numpy_helper

    shutil.copytree(bundle, out)
    model, rng = onnx.load(str(out / MODEL)), np.random.default_rng(seed)
    for tensor in model.graph.initializer:
        weights = numpy_helper.to_array(tensor)
        if weights.dtype == np.int8 and weights.ndim >= 2:
            noise = rng.integers(-reach, reach + 1, weights.shape) * (rng.random(weights.shape) < share)
            spoiled = np.clip(weights + noise, -127, 127).astype(np.int8)
            tensor.CopyFrom(numpy_helper.from_array(spoiled, tensor.name))
    onnx.save(model, str(out / MODEL))
    manifest = json.loads((out / MANIFEST).read_bytes())
    ours = ("kind", "format_version", "files", "digest")
    write_manifest(out, "bundle", {key: value for key, value in manifest.items() if key not in ours})
    return out


def judged(candidate: Path, baseline: Path, data: Path) -> GateResult:
    return judge(candidate, baseline=baseline, data=data, limits=[LIMIT])


def test_damaged_weights_fail(signs_bundle: Path, real_images: Callable[[str], Path], tmp_path: Path) -> None:
    data = real_images("signs")
    before = evaluate(signs_bundle, data).top1
    for percent in range(10, 31, 2):  # more and more, until it is about three points
        worse = damaged(signs_bundle, tmp_path / f"{percent}.edgx", share=percent / 100, reach=16, seed=1)
        drop = before - evaluate(worse, data).top1
        if drop >= 0.025:
            break
        shutil.rmtree(worse)
    assert 0.025 <= drop < 0.06
    result = judged(worse, signs_bundle, data)
    (verdict,) = result.verdicts
    assert (result.outcome, result.exit_code) == ("fail", 1)
    assert verdict.change == pytest.approx(-drop)
    assert verdict.high is not None
    assert verdict.high < 0
    kinds = [flip.kind for flip in result.flips]
    assert (kinds.count("lost"), kinds.count("won")) == (verdict.evidence["lost"], verdict.evidence["won"])
    assert judged(signs_bundle, worse, data).outcome == "pass"  # the way back is no regression


def test_one_image_that_differs_passes(signs_bundle: Path, real_images: Callable[[str], Path], tmp_path: Path) -> None:
    data = real_images("signs")
    before = evaluate(signs_bundle, data)
    for seed in range(20):
        other = damaged(signs_bundle, tmp_path / f"{seed}.edgx", share=0.02, reach=8, seed=seed)
        if [flip.kind for flip in flips(evaluate(other, data), before)] == ["lost"]:
            break
        shutil.rmtree(other)
    result = judged(other, signs_bundle, data)
    (verdict,) = result.verdicts
    assert (verdict.evidence["lost"], verdict.evidence["won"]) == (1, 0)
    assert (result.outcome, result.exit_code) == ("pass", 0)
    assert len(result.flips) == 1
    assert "the limit itself takes at least 500" in verdict.reason
