"""Every record besides manifest, network and references that edgexfer reads and a stranger may have written.

    python -m tests.hostile.records --mutations 20000
    python -m tests.hostile.records --mutations 500 --only 'report of layers.json,layers'

Each mutation changes one file, is read, and is used as the verbs use it: figures are computed, pages rendered. Counted
is what tests/hostile/long.py counts.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import resource
import shutil
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, get_args

from edgexfer.core.bundle import CONTROL, HISTORY, LAYERS, MEASUREMENTS, SPLIT, Bundle, open_bundle
from edgexfer.core.control import read_control
from edgexfer.core.errors import ArtifactError, EdgexferError
from edgexfer.core.manifest import MANIFEST
from edgexfer.gate.judge.baseline import read_baseline, write_baseline
from edgexfer.gate.measure.measured import read_measured
from edgexfer.gate.measure.measurement import read_measurement
from edgexfer.gate.measure.roles import Role, roles_of
from edgexfer.gate.output.annotations import annotation_lines
from edgexfer.gate.output.junit import junit_xml
from edgexfer.gate.output.markdown import markdown_summary
from edgexfer.gate.report.control import control_card
from edgexfer.gate.report.curves import read_history
from edgexfer.gate.report.layers import layer_table, read_layers
from edgexfer.gate.report.page import report
from edgexfer.gate.report.provenance import provenance
from edgexfer.gate.report.verdicts import read_gate, verdict_rows
from edgexfer.trust.accepted import last_accepted
from tests.bundles import make_bundle
from tests.gate.baselines import answers, make_baseline
from tests.gate.report import made
from tests.hostile.forge import forge
from tests.hostile.long import MOST_GROWTH_MIB, TOO_LONG_S, mutated, odd_value

_WARM_UP = 500
_OTHERS: tuple[tuple[type, list[Any]], ...] = (
    (bool, [True, False]),
    (int, [0, 1, -1, 2, 7, 1000, 2**31, 2**63, 10**15]),
    (float, [0.0, -0.0, 1.0, -1.0, 0.5, 1e-300, 1e-9, 1e9, 1e300]),
    (str, ["", " ", "a", "</script><b>", "\n", "x" * 5000, "\u202e", "train", "test", "int8", "float32", "0" * 64]),
)


@dataclass(frozen=True)
class Record:
    """A file, and what reads it.

    Attributes:
        file: its place in the folder that `make` fills.
        make: fills an empty folder.
        use: reads the folder, as a verb does.
        too_long_s: seconds of CPU time after which reading it counts as hanging.
    """

    file: str
    make: Callable[[Path], object]
    use: Callable[[Path], object]
    too_long_s: float = TOO_LONG_S


def _bundle(folder: Path) -> None:
    place = folder / "b.edgx"
    made.full(made.made_bundle(place))
    rows = [f'"a, b/{number}.jpg","a ""b""",{split},{number:064x}\n' for number, split in enumerate(get_args(Role))]
    (place / SPLIT).write_text("path,label,split,sha256\n" + "".join(rows), encoding="utf-8")
    forge(place)


def _forged(folder: Path) -> Path:
    try:
        return forge(folder / "b.edgx")
    except (ValueError, TypeError, AttributeError, KeyError) as error:
        raise ArtifactError("not even its maker can write a digest into it") from error


def _open(folder: Path) -> Bundle:
    return open_bundle(_forged(folder))


def _measured(folder: Path) -> None:
    for record in read_measured(_open(folder)):
        record.to_json()
        _ = record.evaluation.confusion, record.evaluation.roles(), record.evaluation.confused()


def _layers(folder: Path) -> None:
    bundle = _open(folder)
    found = read_layers(bundle.read(LAYERS), bundle.folder / LAYERS)
    if found is not None:
        layer_table(found)


def _control(folder: Path) -> None:
    bundle = _open(folder)
    found = read_control(bundle.folder, bundle.manifest)
    if found is not None:
        found.sentence()
        found.to_json()
        control_card(found)


def _split(folder: Path) -> None:
    roles_of(_open(folder))


def _provenance(folder: Path) -> None:
    bundle = _open(folder)
    provenance(bundle.folder, bundle.manifest)


def _history(folder: Path) -> None:
    found = read_history(_open(folder).read(HISTORY))
    if found is not None:
        found.starts()
        found.last_epochs()


def _pruned_and_sparse(folder: Path) -> None:
    _bundle(folder)
    latency = {"ratio": 0.6, "low": 0.59, "high": 0.61, "latency_ms": 1.5, "full_ms": 2.5}
    cost = {"input_size": 192, "params": 2_000_000, "macs": 200_000_000, "size_bytes": 2_000_000}
    metrics = {"val": {"images": 100, "right": 98}}
    points = [{"ratio": ratio, **cost, "latency": latency, "metrics": metrics, "epochs": 3} for ratio in (1.0, 0.6)]
    pruning = {"goal": "latency=0.6", "precision": "int8", "engine": "ort", "parent": "e" * 64, "points": points}
    gain = {
        "precision": "int8", "packed_bytes": 2_000_000, "size_bytes": 3_000_000, "dense": {"packed_bytes": 3_000_000},
        "latency": latency, "engine": "ort", "reason": "", "eligible": {"layers": 3, "of": 4, "macs_share": 0.9},
    }  # fmt: skip
    rows = [{"share": share, "metrics": metrics} for share in (0.0, 0.5)]
    sparsity = {"asked": "2:4", "how": "magnitude", "parent": "f" * 64, "points": rows, "gain": gain}
    calibration = {"recipe": {"name": "balanced"}, "images": ["0" * 64] * 4}
    origin = {"settings": {"seed": 7, "strategy": "head"}, "versions": {"torch": "2"}, "calibration": calibration}
    made.rewrite(folder / "b.edgx", "bundle", provenance={**origin, "pruning": pruning}, sparsity=sparsity)


def _report(folder: Path) -> None:
    report(_forged(folder), folder / "page.html")


def _gate(folder: Path) -> None:
    found = read_gate(folder / "gate.json")
    verdict_rows(found)
    for text in (junit_xml, markdown_summary, annotation_lines):
        text(found)


def _make_gate(folder: Path) -> None:
    _bundle(folder)
    (folder / "gate.json").write_text(json.dumps(made.verdicts(folder / "b.edgx").to_json()), encoding="utf-8")


def _baseline(folder: Path) -> None:
    found = read_baseline(folder / "baseline.json")
    found.evaluation()
    found.started()
    write_baseline(found, folder / "again.json")


def _make_baseline(folder: Path) -> None:
    write_baseline(make_baseline(evaluation=answers()), folder / "baseline.json")


def _make_measurement(folder: Path, *, latency: bool) -> None:
    record = made.measured("int8", 3)
    measurement: Any = record.latency if latency else record.evaluation
    (folder / "measurement.json").write_text(json.dumps(measurement.to_json()), encoding="utf-8")


def _latency(folder: Path) -> None:
    found: Any = read_measurement(folder / "measurement.json")
    found.to_json()
    found.percentile("total", 50)


def _make_accepted(folder: Path) -> None:
    entry = {"version": 7, "manifest_sha256": "0" * 64}
    text = json.dumps({"format_version": 1, "accepted": {"tiny": entry, "other": entry}})
    (folder / "accepted.json").write_text(text, encoding="utf-8")


def _accepted(folder: Path) -> None:
    before = os.environ.get("EDGEXFER_STATE")
    os.environ["EDGEXFER_STATE"] = str(folder)
    try:
        last_accepted("tiny")
    finally:
        os.environ.pop("EDGEXFER_STATE") if before is None else os.environ.update(EDGEXFER_STATE=before)


def _make_signatures(folder: Path) -> None:
    from tests.trust.signing import key_at, signed_copy

    signed_copy(make_bundle(folder / "b.edgx"), folder / "signed.edgx", key_at(folder), 1)


def _signatures(folder: Path) -> None:
    from edgexfer.trust.verify import signatures_of

    signatures_of(folder / "signed.edgx")


RECORDS: dict[str, Record] = {
    "measurements": Record("b.edgx/measurements.json", _bundle, _measured),
    "layers": Record("b.edgx/layers.json", _bundle, _layers),
    "control": Record("b.edgx/control.json", _bundle, _control),
    "split": Record("b.edgx/split.csv", _bundle, _split),
    "history": Record("b.edgx/history.csv", _bundle, _history),
    "provenance": Record("b.edgx/manifest.json", _bundle, _provenance),
    **{
        f"report of {name}": Record(f"b.edgx/{name}", _bundle, _report, too_long_s=20.0)
        for name in (MEASUREMENTS, LAYERS, CONTROL, HISTORY, SPLIT)
    },
    "report of manifest.json": Record(f"b.edgx/{MANIFEST}", _pruned_and_sparse, _report, too_long_s=20.0),
    "gate": Record("gate.json", _make_gate, _gate),
    "baseline": Record("baseline.json", _make_baseline, _baseline),
    "evaluation": Record(
        "measurement.json",
        partial(_make_measurement, latency=False),
        lambda folder: read_measurement(folder / "measurement.json").to_json(),
    ),
    "latency": Record(
        "measurement.json",
        partial(_make_measurement, latency=True),
        _latency,
    ),
    "signatures": Record("signed.edgx/signatures.json", _make_signatures, _signatures),
    "accepted": Record("accepted.json", _make_accepted, _accepted),
}


def spoiled(content: bytes, dice: random.Random) -> bytes:
    """Changes bytes; or where it is JSON some values in it, by ones that do not belong there, or of their own type."""
    chance = dice.random()
    try:
        parsed = json.loads(content)
    except (ValueError, RecursionError):
        parsed = None
    if chance < 0.3 or not isinstance(parsed, (dict, list)):
        return mutated(content, dice)
    if chance < 0.6:
        odd_value(parsed, dice)
    else:
        for _ in range(dice.randint(1, 4)):
            other_value(parsed, dice)
    return json.dumps(parsed, indent=1).encode("utf-8", "surrogatepass")


def other_value(record: Any, dice: random.Random) -> None:
    """Puts another value of the same type in the place of one, however deep: a reader has less reason to refuse it."""
    holder, key = {"": record}, ""
    while isinstance(holder[key], (dict, list)) and holder[key]:
        below: Any = holder[key]
        if isinstance(below, list) and dice.random() < 0.1:
            below[:] = dice.choice([below * 2, below[1:], below[::-1]])
            return
        holder, key = below, dice.choice(list(below) if isinstance(below, dict) else range(len(below)))
    old = holder[key]
    others = next((values for kind, values in _OTHERS if isinstance(old, kind)), None)
    if others:
        holder[key] = dice.choice(others)


def attempt(record: Record, folder: Path) -> str:
    """Uses what is there and returns what came of it: "used", "refused" or the name of what should not come."""
    try:
        record.use(folder)
    except EdgexferError:
        return "refused"
    except Exception as error:  # noqa: BLE001 - that is what is looked for
        return type(error).__name__
    return "used"


def run(records: dict[str, Record], mutations: int, seed: int, root: Path) -> Counter[str]:
    """Tries that many of each; returns how often what came of it, by name."""
    counts, peak, tried = Counter[str](), 0, 0
    for name, record in records.items():
        folder = root / name
        folder.mkdir()
        record.make(folder)
        place = folder / record.file
        whole = place.read_bytes()
        if attempt(record, folder) != "used":
            raise RuntimeError(f"{name} cannot be read before it is spoiled")
        for number in range(mutations):
            place.write_bytes(spoiled(whole, random.Random(seed + number)))
            started = time.process_time()
            came = attempt(record, folder)
            seconds = time.process_time() - started
            counts[f"{name}: {came}"] += 1
            if came not in ("used", "refused") or seconds > record.too_long_s:
                print(f"seed {seed + number}, {name}: {came} in {seconds:.2f} s", flush=True)
                counts["slow" if seconds > record.too_long_s else "crashed"] += 1
            tried += 1
            if tried == _WARM_UP:
                peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        shutil.rmtree(folder)
    counts["MiB grown"] = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - peak) // 1024 if peak else 0
    return counts


def main(records: dict[str, Record]) -> int:
    """Runs the command line over these; returns 1 where anything came that should not."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--mutations", type=int, default=10_000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", default=",".join(records))
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        counts = run({key: records[key] for key in asked.only.split(",")}, asked.mutations, asked.seed, Path(name))
    for what, count in sorted(counts.items()):
        print(f"{count:8}  {what}")
    return int(counts["crashed"] + counts["slow"] > 0 or counts["MiB grown"] > MOST_GROWTH_MIB)


if __name__ == "__main__":
    sys.exit(main(RECORDS))
