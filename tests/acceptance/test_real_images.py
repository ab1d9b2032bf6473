"""The main job on photographs: the accuracy that is promised, in float and in INT8, paired on the same images."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edgexfer import load
from tests.acceptance.whole_way import whole_way

pytestmark = pytest.mark.train

Images = Callable[[str], Path]


def judged(exported: Any) -> tuple[float, float]:
    """Returns top-1 of float and INT8, over the same images in the same order."""
    float32, int8 = (record.evaluation for record in exported.measured)
    assert [i.path for i in float32.images] == [i.path for i in int8.images]
    return float32.top1, int8.top1


def proven(exported: Any) -> None:
    """Checks what every INT8 bundle for a CPU must be, whatever its accuracy."""
    from edgexfer.train.dialects.lint import lint

    assert exported.bundle.precision == "int8"
    assert lint(exported.bundle.folder) == []
    float32, int8 = exported.measured
    assert int8.size_bytes < 0.32 * float32.size_bytes
    reference = np.load(exported.bundle.folder / "reference.npz")
    with load(exported.bundle.folder) as classifier:
        found = classifier.probabilities(reference["pixels"])
    assert (found.argmax(1) == reference["probabilities"].argmax(1)).all()


@pytest.mark.acceptance
def test_hymenoptera(real_images: Images, tmp_path: Path) -> None:
    checkpoint, exported = whole_way(real_images("hymenoptera"), tmp_path)
    float_top1, int8_top1 = judged(exported)
    assert checkpoint.manifest["metrics"]["val"]["top1"] >= 0.945
    assert len(exported.measured[0].evaluation.images) == 153
    assert float_top1 >= 0.945
    assert float_top1 - int8_top1 <= 0.01
    proven(exported)


@pytest.mark.acceptance
def test_signs(signs_made: Callable[[], tuple[Any, Any]]) -> None:
    checkpoint, exported = signs_made()
    float_top1, int8_top1 = judged(exported)
    assert checkpoint.manifest["metrics"]["test"]["top1"] >= 0.98
    assert float_top1 >= 0.98
    assert float_top1 - int8_top1 <= 0.01
    proven(exported)


@pytest.mark.acceptance
def test_hymenoptera_with_the_head_alone(real_images: Images, tmp_path: Path) -> None:
    """The smaller form: frozen features hold what is promised, INT8 by calibration."""
    _, exported = whole_way(real_images("hymenoptera"), tmp_path, strategy="linear-probe", qat_epochs=1)
    float_top1, int8_top1 = judged(exported)
    assert float_top1 >= 0.93
    assert float_top1 - int8_top1 <= 0.03
    proven(exported)


def test_a_part_of_signs(real_images: Images, tmp_path: Path) -> None:
    """The smaller form for every run of the suite: 40 images of each of 10 signs, three epochs."""
    part = tmp_path / "signs"
    for folder in sorted(real_images("signs").iterdir()):
        (part / folder.name).mkdir(parents=True)
        for image in sorted(folder.iterdir())[:40]:
            shutil.copyfile(image, part / folder.name / image.name)
    _, exported = whole_way(part, tmp_path, epochs=3, learning_rate=5e-4, qat_epochs=1)
    float_top1, int8_top1 = judged(exported)
    assert float_top1 >= 0.75  # 60 images, chance is 0.10
    assert float_top1 - int8_top1 <= 0.05
    proven(exported)
