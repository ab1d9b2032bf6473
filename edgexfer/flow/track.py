"""track: what `export` made goes to the run that tracks its checkpoint: figures, settings, bundle and report."""

from __future__ import annotations

import logging
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgexfer.core.errors import EdgexferError
from edgexfer.gate.report.page import report
from edgexfer.train.loop.trackers import Tracking

if TYPE_CHECKING:
    from edgexfer.flow.export import Exported
    from edgexfer.gate.measure.measured import Measured

log = logging.getLogger(__name__)


def track_export(tracked: Tracking, made: Exported) -> None:
    """Logs a bundle. Names begin with the target's, since one run is exported for several.

    Metrics are "TARGET/PRECISION/FIGURE" for every precision that was measured: top1 and macro_f1 as fractions,
    size_bytes, and latency_p50_ms and latency_p95_ms of one whole prediction where the target's engine is here.
    Parameters are "TARGET.NAME". The bundle's folder and the HTML report are the artifacts.

    Args:
        tracked: open; nothing is done where it has no tracker.
        made: what `export` returns.
    """
    if not tracked.records:
        return
    bundle, target = made.bundle, made.bundle.target
    for record in made.measured:
        tracked.figures({f"{target.name}/{record.precision}/{name}": v for name, v in _figures(record).items()})
    shipped: dict[str, Any] = {
        "precision": bundle.precision,
        "decision": made.decision,
        "bundle": bundle.folder.name,
        "bundle_digest": bundle.digest,
        "checkpoint_digest": bundle.manifest["parent"],
        "simulated": bundle.manifest["simulated"],
    }
    tracked.settings({target.name: shipped})
    tracked.keep(bundle.folder, "bundle")
    with tempfile.TemporaryDirectory() as folder:
        try:
            page = report(bundle.folder, Path(folder) / f"{bundle.folder.stem}-{target.name}.html")
        except EdgexferError as error:
            log.warning("the bundle is tracked without its report: %s", error)
        else:
            tracked.keep(page, "report")


def _figures(record: Measured) -> dict[str, float]:
    found = record.evaluation
    figures = {
        "top1": found.top1,
        "macro_f1": found.macro_f1,
        "size_bytes": float(record.size_bytes),
    }
    if record.latency is not None:
        figures |= {f"latency_p{q}_ms": record.latency.percentile("total", q) / 1e6 for q in (50, 95)}
    return figures
