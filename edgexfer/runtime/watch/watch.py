"""Watch: what a classifier does in the field, for those who ask: counters, drift, and frames worth a label.

    watch = Watch(keep=LowScores("to_label", below=0.7))
    with load("signs.edgx", watch=watch) as classifier:
        ...
        watch.write_prometheus("/var/lib/node_exporter/edgexfer.prom")

Nothing here opens a connection: text is written where the application says, and images stay in the folder of `keep`.
"""

from __future__ import annotations

import json
import logging
import math
import threading
import time
from collections.abc import Sequence
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from edgexfer.core.bundle import Bundle
from edgexfer.core.errors import SettingsError
from edgexfer.core.expected import Expected
from edgexfer.core.files import explained_write, write_file
from edgexfer.core.prediction import Prediction
from edgexfer.core.preprocess import Source
from edgexfer.runtime.watch.counts import Counted, Counters
from edgexfer.runtime.watch.drift import Compared, Windows
from edgexfer.runtime.watch.frames import Keeper, LowScores
from edgexfer.runtime.watch.prometheus import family, histogram

log = logging.getLogger(__name__)

FORMAT_VERSION = 1
_LEAST_WINDOW = 50


class Watch:
    """Counts what one classifier predicts. Any thread may read it at any time.

    What `Classifier.probabilities` computes is not counted: it is for tools that measure.
    """

    def __init__(
        self,
        *,
        keep: LowScores | None = None,
        window: int = 500,
        level: float = 0.001,
        apart_s: float = 0.0,
        expected: Expected | None = None,
    ) -> None:
        """Prepares to watch; `load(bundle, watch=...)` begins.

        Args:
            keep: which frames are kept for relabelling; None for none.
            window: predictions that are compared together with those at export, 50 or more.
            level: probability that such a window alarms by mistake, above 0 and below 1.
            apart_s: seconds between two predictions that count for drift: neighbouring frames of a film are one
                observation, not many. Counters count all.
            expected: what to compare with, in place of what the bundle brings from its export.

        Raises:
            SettingsError: a value out of its range.
            EdgexferError: the folder of `keep` cannot be made.
        """
        for name, value, good, wanted in (
            ("window", window, window >= _LEAST_WINDOW, f"{_LEAST_WINDOW} or more"),
            ("level", level, 0 < level < 1, "above 0 and below 1"),
            ("apart_s", apart_s, 0 <= apart_s < math.inf, "0 or more"),
        ):
            if not good:
                raise SettingsError(f"{name} of Watch is {value}, expected {wanted}")
        self._keeper = None if keep is None else Keeper(keep)
        self._window, self._level, self._apart_s, self._expected = window, level, apart_s, expected
        self._lock = threading.Lock()
        self._counters = Counters()
        self._windows = Windows(expected, window, level)
        self._bundle: Bundle | None = None
        self._due = -math.inf

    def begin(self, bundle: Bundle) -> None:
        """A bundle serves from now on: counters go on, drift begins anew. Called by `load` and `swap`."""
        with self._lock:
            self._bundle = bundle
            self._windows = Windows(self._expected or bundle.expected, self._window, self._level)
        if reason := self.no_drift_because:
            log.warning("%s", reason)
        if self._keeper is not None and self._keeper.wanted.below is None and bundle.known_from is None:
            log.warning("%s calls no image unknown: give LowScores(below=...) to keep frames", bundle.folder)

    def saw(self, images: Sequence[Source], predictions: Sequence[Prediction], seconds: float) -> None:
        """Counts one call of the engine. Called by the classifier."""
        seen = [(prediction.label, prediction.score) for prediction in predictions]
        with self._lock:
            self._counters.call(seconds)
            self._counters.predictions(seen, predictions)
            before = self._windows.last
            ended = self._windows.add(self._apart(seen))
        if ended is not None:
            self._tell(before, ended)
        if self._keeper is not None:
            for image, prediction, (_, score) in zip(images, predictions, seen, strict=True):
                self._keeper.offer(image, prediction, score)

    def failed(self, error: Exception) -> None:
        """Counts a failure. Called by the classifier."""
        with self._lock:
            self._counters.errors[type(error).__name__] += 1

    def close(self) -> None:
        """Ends the writing of frames; counters can be read further. Called by the classifier."""
        if self._keeper is not None:
            self._keeper.close()

    @property
    def counted(self) -> Counted:
        """What has been counted so far."""
        with self._lock:
            return self._counters.now()

    @property
    def drift(self) -> Compared | None:
        """What the latest full window showed; None where none is full, or there is nothing to compare with."""
        return self._windows.last

    @property
    def no_drift_because(self) -> str:
        """Why drift cannot be told, "" where it can."""
        if self._bundle is None:
            return "no bundle has been opened"
        if self._windows.expected is not None:
            return ""
        return (
            f"{self._bundle.folder} does not say what its network answered at export, so that drift cannot be told: "
            "export it again, or give Watch(expected=...)"
        )

    def seen(self) -> Expected:
        """Returns all predictions so far as what is expected from now on: for a period that was looked at."""
        counted = self.counted
        return Expected(counted.predictions, counted.classes, counted.scores.edges, counted.scores.counts, "field")

    def to_json(self) -> dict[str, Any]:
        """Returns all of it as one record; its keys are in docs/field.md."""
        counted, windows, bundle = self.counted, self._windows, self._bundle
        last = windows.last
        record: dict[str, Any] = {
            "kind": "watch",
            "format_version": FORMAT_VERSION,
            "time": datetime.now(timezone.utc).isoformat(timespec="milliseconds"),
            "bundle": None if bundle is None else str(bundle.manifest.get("name", bundle.folder.name)),
            "digest": None if bundle is None else bundle.digest,
            "predictions": counted.predictions,
            "classes": counted.classes,
            "unknown": counted.unknown,
            "unknown_share": counted.unknown_share,
            "errors": counted.errors,
        }
        for name, values in (("inference_seconds", counted.seconds), ("scores", counted.scores)):
            record[name] = {"edges": values.edges, "counts": values.counts, "sum": values.total}
        record["drift"] = {
            "windows": windows.compared,
            "alarms": dict(windows.alarms),
            "classes": [] if last is None else [str(each) for each in last.classes],
            "scores": [] if last is None else [str(each) for each in last.scores],
            "none_because": self.no_drift_because,
        }
        if self._keeper is not None:
            record["frames"] = {"kept": self._keeper.kept, "lost": self._keeper.lost}
        return record

    def prometheus(self) -> str:
        """Returns all of it in Prometheus's text format."""
        counted, windows, bundle = self.counted, self._windows, self._bundle
        lines: list[str] = []
        if bundle is not None:
            named = str(bundle.manifest.get("name", bundle.folder.name))
            info = {"name": named, "digest": bundle.digest, "precision": bundle.precision}
            lines += family("edgexfer_bundle_info", "gauge", "The bundle that serves.", [(info, 1)])
        by_class = [({"label": label}, number) for label, number in sorted(counted.classes.items())]
        by_error = [({"error": name}, number) for name, number in sorted(counted.errors.items())]
        lines += family("edgexfer_predictions", "counter", "Predictions by class.", by_class, "_total")
        lines += family("edgexfer_unknown", "counter", "Called unknown.", [({}, counted.unknown)], "_total")
        lines += family("edgexfer_errors", "counter", "Failures by exception.", by_error, "_total")
        lines += histogram("edgexfer_inference_seconds", "Calls of the engine.", counted.seconds)
        lines += histogram("edgexfer_score", "Best probability of each prediction.", counted.scores)
        if windows.expected is not None:
            last = windows.last
            differs = {"classes": last is not None and last.classes, "scores": last is not None and last.scores}
            by_kind = [({"what": what}, number) for what, number in windows.alarms.items()]
            now = [({"what": what}, float(bool(found))) for what, found in differs.items()]
            text = "Windows compared with export."
            lines += family("edgexfer_drift_windows", "counter", text, [({}, windows.compared)], "_total")
            lines += family("edgexfer_drift_alarms", "counter", "Windows that differed.", by_kind, "_total")
            lines += family("edgexfer_drifting", "gauge", "Whether the latest window differs.", now)
        if self._keeper is not None:
            for name, number in (("kept", self._keeper.kept), ("lost", self._keeper.lost)):
                lines += family(f"edgexfer_frames_{name}", "counter", f"Frames {name}.", [({}, number)], "_total")
        return "\n".join(lines) + "\n"

    def write_prometheus(self, path: str | Path) -> None:
        """Writes the text to a file that is never half-written, such as one for node_exporter's textfile collector.

        Raises:
            EdgexferError: it cannot be written.
        """
        write_file(Path(path), self.prometheus())

    def append_json(self, path: str | Path) -> None:
        """Adds the record to a file as one line.

        Raises:
            EdgexferError: it cannot be written.
        """
        with explained_write(Path(path)), Path(path).open("a", encoding="utf-8") as file:
            file.write(json.dumps(self.to_json(), ensure_ascii=False) + "\n")

    def _apart(self, seen: list[tuple[str, float]]) -> list[tuple[str, float]]:
        if self._apart_s == 0:
            return seen
        now = time.monotonic()
        if now < self._due:
            return []
        self._due = now + self._apart_s
        return seen[:1]

    def _tell(self, before: Compared | None, now: Compared) -> None:
        for what, found, earlier in (
            ("the predicted classes", now.classes, before is not None and before.classes),
            ("the scores", now.scores, before is not None and before.scores),
        ):
            if found and not earlier:
                shown = "; ".join(map(str, found[:3]))
                log.warning("%s of the last %d predictions differ from export: %s", what, self._window, shown)
            elif earlier and not found:
                log.info("%s are as at export again", what)
