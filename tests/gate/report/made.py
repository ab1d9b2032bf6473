"""Artifacts for the report's tests: a bundle with measurements, a checkpoint, verdicts, images; the page, parsed."""

from __future__ import annotations

import hashlib
import json
import re
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

from edgexfer.core.control import Attempt, Control
from edgexfer.core.manifest import MANIFEST, write_manifest
from edgexfer.gate.judge.limits import Limit, parse_limit
from edgexfer.gate.judge.verdict import Flip, GateResult, Verdict
from edgexfer.gate.measure.evaluation import Evaluation, ImageResult
from edgexfer.gate.measure.latency import Latency
from edgexfer.gate.measure.measured import Measured, write_measured
from edgexfer.gate.measure.record import Subject
from tests.bundles import make_bundle
from tests.images import jpeg, put

HOSTILE = "<script>alert('$x$')</script>"
LABELS = ("ants", "bees", HOSTILE)
HISTORY = """epoch,stage,train_loss,val_loss,val_top1,learning_rate,note
0,finetune,,1.1,0.6,0.01,a
1,finetune,0.9,,0.7,0.005,b
2,finetune,0.5,0.6,0.9,0.001,c
0,qat,,0.0002,0.88,0.0001,d
1,qat,0.0003,0.0001,0.9,0,e
"""
_VOID = {"meta", "br", "hr", "img", "link", "input"}


class Parsed(HTMLParser):
    """Checks that tags nest, and gathers text, tags, ids, addresses and names for screen readers."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.html = path.read_text(encoding="utf-8")
        self.open: list[str] = []
        self.tags: list[str] = []
        self.ids: list[str] = []
        self.addresses: list[str] = []
        self.alternatives: list[str] = []
        self.pieces: list[str] = []
        self.feed(self.html)
        self.close()
        assert self.open == []

    @property
    def text(self) -> str:
        """All that can be read, white space made single."""
        return re.sub(r"\s+", " ", " ".join(self.pieces))

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.handle_startendtag(tag, attrs)
        if tag not in _VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        for name, value in attrs:
            if name in ("src", "href", "srcset", "action", "xlink:href"):
                self.addresses.append(value or "")
            elif name in ("alt", "aria-label"):
                self.alternatives.append(value or "")
            elif name == "id":
                self.ids.append(value or "")

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if not {"style", "script"} & set(self.open):
            self.pieces.append(data)


def subject(precision: str, digest: str = "0" * 64) -> Subject:
    return Subject("tiny", digest, precision, "test", "ort", "onnxruntime 1", simulated=False)


def image_bytes(number: int) -> bytes:
    """A small JPEG; another number gives other bytes."""
    return jpeg(number, (48, 32))


def put_images(root: Path, labels: tuple[str, ...] = LABELS, images: int = 30) -> Path:
    """Writes the images that `measured` is about."""
    for i in range(images):
        put(root / path_of(i, labels), image_bytes(i))
    return root


def path_of(number: int, labels: tuple[str, ...] = LABELS) -> str:
    """Where image `number` lies; a class name that is no folder's name is a number there."""
    place = number % len(labels)
    return f"{labels[place] if labels[place].isalnum() else place}/{number:02}.jpg"


def measured(
    precision: str, wrong: int, *, labels: tuple[str, ...] = LABELS, milliseconds: float | None = 2.0, data: str = ""
) -> Measured:
    """30 images in turn over the classes, the first `wrong` of them taken for the next class."""
    images = []
    for i in range(30):
        label = labels[i % len(labels)]
        said = labels[(i + 1) % len(labels)] if i < wrong else label
        score = 0.9 - i / 1000
        digest = hashlib.sha256(image_bytes(i)).hexdigest()
        true = 1 - score if i < wrong else score
        images.append(ImageResult(path_of(i, labels), digest, "test", label, said, score, true))
    latency = None
    if milliseconds is not None:
        samples = tuple(int((milliseconds + i / 10) * 1e6) for i in range(20))
        steps = {"decode": (10**6,) * 20, "resize": (5 * 10**5,) * 20, "inference": samples}
        steps["total"] = tuple(value + 15 * 10**5 for value in samples)
        latency = Latency(subject(precision), "generated", steps, 3, 1, host={"cpu": "CPU X"})
    evaluation = Evaluation(subject(precision), data, labels, tuple(images), warnings=("the set is small",))
    size = 4_000_000 if precision == "int8" else 16_000_000
    return Measured(precision, evaluation, latency, size, precision == "int8")


def made_bundle(folder: Path, *records: Measured, labels: tuple[str, ...] = LABELS, **more: Any) -> Path:
    """A bundle that holds these measurements; by default int8 with 3 mistakes and float32 with 2."""
    make_bundle(folder, labels=labels, precision="int8")
    both = (measured("int8", 3, labels=labels), measured("float32", 2, labels=labels, milliseconds=5.0))
    write_measured(folder, records or both)
    return rewrite(folder, "bundle", **more)


def made_checkpoint(folder: Path, history: str = HISTORY, **more: Any) -> Path:
    folder.mkdir()
    (folder / "history.csv").write_text(history, encoding="utf-8")
    return rewrite(folder, "checkpoint", **{"name": folder.name, "labels": ["ants", "bees"], **more})


def rewrite(folder: Path, kind: Any, **more: Any) -> Path:
    """Writes the manifest anew over what is in the folder now."""
    manifest = json.loads((folder / MANIFEST).read_text(encoding="utf-8")) if (folder / MANIFEST).exists() else {}
    content = {k: v for k, v in manifest.items() if k not in ("kind", "format_version", "files", "digest")}
    write_manifest(folder, kind, {**content, **more})
    return folder


def full(bundle: Path) -> Path:
    """The same bundle with all that may be in one."""
    (bundle / "history.csv").write_text(HISTORY, encoding="utf-8")
    (bundle / "layers.json").write_text(layers(), encoding="utf-8")
    (bundle / "control.json").write_text(controlled().to_json(), encoding="utf-8")
    return rewrite(bundle, "bundle", name=f"tiny {HOSTILE}")


def digest_of(folder: Path) -> str:
    return str(json.loads((folder / MANIFEST).read_text(encoding="utf-8"))["digest"])


def layers(own: tuple[float | None, ...] = (30.0, 12.5, None)) -> str:
    """What stands in `layers.json`: one layer for each number."""
    listed = [
        {"name": f"block.{i}{HOSTILE}", "operator": "Conv", "sqnr_db": 40.0 - i, "relative_error": 0.01 * i,
         "own_sqnr_db": value, "parameters": 1000 * i}
        for i, value in enumerate(own)
    ]  # fmt: skip
    return json.dumps({"format_version": 1, "images": 16, "layers": listed})


def controlled() -> Control:
    """What stands in `control.json`: three attempts, of which the last held."""
    attempts = (
        Attempt("mean_min_max", (), 0.9, 6, 1, 8, 3_400_000, holds=False),
        Attempt("quantile", (), 0.94, 2, 0, 5, 3_400_000, holds=False),
        Attempt("quantile", (f"block.1{HOSTILE}", "block.2"), 0.96, 0, 0, 2, 3_600_000, holds=True),
    )
    return Control(100, 0.01, 0.96, attempts, 2, 32, {f"block.1{HOSTILE}": 0.8, "block.2": 0.0125})


def verdicts(bundle: Path) -> GateResult:
    """A failed, an open and a passed verdict on a bundle, with images that flipped."""
    slow = Verdict(
        limit("latency_p50_ms.max_regress", "2%"), "fail", f"slower {HOSTILE}", 4.85, 4.7, 0.031, 0.024, 0.039
    )  # fmt: skip
    open_ = Verdict(limit("top1.max_regress", "1%"), "inconclusive", "too few images", 0.9, 0.9, 0.0, -0.03, 0.03)
    small = Verdict(limit("latency_p95_ms.max", 12), "pass", "10.6 ms of at most 12 ms", 10.6, None, None, 10.3, 10.9)
    digest = hashlib.sha256(image_bytes(1)).hexdigest()
    flips = (
        Flip(path_of(1), digest[:16], "bees", "bees", "ants"),
        Flip("gone/nowhere.jpg", "f" * 64, "ants", "bees", "ants"),
    )
    return GateResult(
        subject("int8", digest_of(bundle)), (small, open_, slow), f"last {HOSTILE}", "a" * 64, "a machine", flips,
        ("the machine was warm",), "30 images", 41.0,
    )  # fmt: skip


def limit(key: str, value: object) -> Limit:
    made = parse_limit(key, value, "standard")
    assert made is not None
    return made
