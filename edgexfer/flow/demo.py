"""demo: the main job on an example that is inside the install: scikit-learn's scans of handwritten digits."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from pathlib import Path

from PIL import Image

from edgexfer.core.errors import EdgexferError
from edgexfer.core.prediction import Prediction
from edgexfer.core.staging import staged_folder
from edgexfer.core.target import load_target
from edgexfer.core.threads import Progress
from edgexfer.flow.export import Exported, export
from edgexfer.gate.report.page import report
from edgexfer.runtime.classifier import load
from edgexfer.train.finetune import finetune
from edgexfer.train.images.digits import digits
from edgexfer.train.settings import FinetuneSettings

log = logging.getLogger(__name__)

TARGET = "x86-cpu"
_INK = 16  # the scans' darkest value; they count ink, so paper is 0


@dataclass(frozen=True)
class Demo:
    """What the demo made.

    Attributes:
        images: class folders with the scans.
        run: the checkpoint.
        exported: the bundle and what was measured.
        report: the HTML page.
        sample: a held-out scan.
        prediction: what the bundle says about it.
    """

    images: Path
    run: Path
    exported: Exported
    report: Path
    sample: Path
    prediction: Prediction


def demo(out: Path, *, progress: Progress | None = None) -> Demo:
    """Fine-tunes EfficientNet-Lite0 on 1,797 scans of digits, quantizes, exports, measures, reports and predicts.

    Args:
        out: a folder for all of it; an earlier demo in it is replaced.
        progress: called with (done, all) while images are read.

    Raises:
        EdgexferError: `out` cannot be written, or holds something that is no demo.
    """
    images, run, bundle = out / "digits", out / "runs" / "digits", out / "digits.edgx"
    if out.exists() and not out.is_dir():
        raise EdgexferError(f"{out} is a file, expected a folder", "choose another place with --out")
    if out.exists() and any(out.iterdir()) and not images.is_dir():
        raise EdgexferError(f"{out} is not empty and holds no demo", "choose another folder with --out")
    log.info("writing 1,797 scans of handwritten digits to %s", images)
    write_digits(images)
    checkpoint = finetune(images, run, FinetuneSettings(), overwrite=True, progress=progress)
    exported = export(run, load_target(TARGET), bundle, overwrite=True, progress=progress)
    page = report(bundle, out / "digits.html")
    sample = images / next(row.path for row in checkpoint.rows if row.split == "test")
    with load(bundle) as classifier:
        return Demo(images, run, exported, page, sample, classifier(sample))


def write_digits(folder: Path) -> None:
    """Writes the scans as 8x8 grey PNG files in class folders 0 to 9, ink black on white paper.

    Those of an earlier demo are left as they are.

    Raises:
        EdgexferError: `folder` holds other images, or cannot be written.
    """
    scans, classes = digits()
    names = [f"{label}/{index:04d}.png" for index, label in enumerate(classes)]
    if folder.exists():
        if sorted(names) != sorted(p.relative_to(folder).as_posix() for p in folder.rglob("*") if not p.is_dir()):
            raise EdgexferError(
                f"{folder} holds something else than the demo's scans", "choose another folder with --out"
            )
        return
    with staged_folder(folder) as stage:
        for name, scan in zip(names, scans, strict=True):
            path = stage / name
            path.parent.mkdir(exist_ok=True)
            Image.fromarray(255 - (scan * (255 / _INK)).round().astype("uint8")).save(path)
