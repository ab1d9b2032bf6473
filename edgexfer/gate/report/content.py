"""Content: everything that the page shows, gathered before a line of HTML is made."""

from __future__ import annotations

from dataclasses import dataclass, field

from edgexfer.gate.judge.verdict import GateResult
from edgexfer.gate.report.classes import ClassRow, HeatMap
from edgexfer.gate.report.drawing import Drawing, Table
from edgexfer.gate.report.gallery import Gallery
from edgexfer.gate.report.provenance import Provenance
from edgexfer.gate.report.side_by_side import Comparison
from edgexfer.gate.report.slices import SliceCard
from edgexfer.gate.report.verdicts import VerdictRow


@dataclass(frozen=True)
class Tile:
    """One figure of the summary: what it is, its value, and one line that puts it into perspective."""

    name: str
    value: str
    note: str = ""


@dataclass(frozen=True)
class Absent:
    """Something that the page does not have: what it is, why, and how to get it."""

    what: str
    why: str
    mend: str


@dataclass(frozen=True)
class Judged:
    """The verdicts: as they were read, in words, and drawn."""

    gate: GateResult
    rows: list[VerdictRow]
    drawing: Drawing | None


@dataclass(frozen=True)
class Classes:
    """What is known by class.

    Attributes:
        images: which ones were judged, in words.
        rows: the weakest first.
        map: the confusion matrix, or the part of it that matters.
        pairs: (true class, predicted class, images, fraction of the true class), the most frequent first.
        overview: the whole matrix from afar; None where `map` is whole.
    """

    images: str
    rows: list[ClassRow]
    map: HeatMap
    pairs: list[tuple[str, str, int, float]]
    overview: Drawing | None


@dataclass(frozen=True)
class Size:
    """How large a network's file is, and as a fraction of the largest one."""

    precision: str
    size_bytes: int
    share: float
    shipped: bool


@dataclass(frozen=True)
class ControlCard:
    """What was tried because INT8 missed its limit: what came of it, every attempt, and the layers left in float."""

    sentence: str
    table: Table
    float_layers: tuple[str, ...]


@dataclass(frozen=True)
class Page:
    """All of it.

    Attributes:
        kind: "Bundle" or "Checkpoint".
        name: of the artifact.
        subtitle: one line.
        digest: SHA-256 that names the artifact.
        labels: how many classes there are.
        provenance: where it comes from.
        tiles: the summary.
        warnings: what a reader must know first, in sentences.
        notes: of the target.
        absent: what is missing.
        judged: the verdicts.
        comparison: precisions side by side.
        sizes: of each precision's file.
        classes: figures by class.
        slices: figures by the kinds of image that the user has named.
        galleries: images to look at.
        looked: where those were looked for; "" for nowhere.
        reliability: one drawing for each precision.
        latency: drawings.
        latency_table: percentiles of every step.
        machine: where latency was measured, in words.
        layers: drawings.
        layer_table: every layer.
        control: what was tried because INT8 missed its limit.
        layer_images: how many images the layers' errors stand on.
        pruning: the points on the way of --prune.
        pruning_about: how they came about.
        sparsity: the points on the way of --sparsity.
        sparsity_gained: what the zeros gain, in sentences.
        curves: of the training.
        guards: what was to be said after training, in sentences.
    """

    kind: str
    name: str
    subtitle: str
    digest: str
    labels: int
    provenance: Provenance
    tiles: list[Tile] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)
    notes: tuple[str, ...] = ()
    absent: list[Absent] = field(default_factory=list)
    judged: Judged | None = None
    comparison: Comparison | None = None
    sizes: list[Size] = field(default_factory=list)
    classes: Classes | None = None
    slices: tuple[SliceCard, ...] = ()
    galleries: list[Gallery] = field(default_factory=list)
    looked: str = ""
    reliability: list[Drawing] = field(default_factory=list)
    latency: list[Drawing] = field(default_factory=list)
    latency_table: Table | None = None
    machine: str = ""
    layers: list[Drawing] = field(default_factory=list)
    layer_table: Table | None = None
    layer_images: int = 0
    control: ControlCard | None = None
    pruning: Table | None = None
    pruning_about: str = ""
    sparsity: Table | None = None
    sparsity_gained: list[str] = field(default_factory=list)
    curves: list[Drawing] = field(default_factory=list)
    guards: list[str] = field(default_factory=list)

    @property
    def sections(self) -> list[tuple[str, str]]:
        """Returns (id, title) of the parts that the page has, in their order."""
        every = (
            ("verdicts", "Verdicts", self.judged),
            ("precisions", "Precisions side by side", self.comparison),
            ("classes", "Classes", self.classes),
            ("slices", "Slices: kinds of image", self.slices),
            ("images", "Images to look at", self.galleries),
            ("reliability", "Reliability of the scores", self.reliability),
            ("latency", "Latency", self.latency),
            ("control", "Accuracy control", self.control),
            ("layers", "Layers", self.layers or self.layer_table),
            ("pruning", "Pruning", self.pruning),
            ("sparsity", "Sparsity", self.sparsity),
            ("training", "Training", self.curves or self.guards),
            ("provenance", "Where it comes from", self.provenance),
            ("absent", "Not on this page", self.absent),
        )
        return [(name, title) for name, title, content in every if content]
