"""Everything that edgexfer writes which must be whole or absent, each as small as it can be."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from edgexfer.core.bundle import open_bundle
from edgexfer.core.engine_choice import EngineChoice, read_choice, write_choice
from edgexfer.core.engine_store import read_timing_cache, store_engine, write_timing_cache
from edgexfer.core.engines import EngineKey, load_engine
from edgexfer.core.files import write_file
from edgexfer.core.held import held_place
from edgexfer.core.manifest import read_manifest, write_manifest
from edgexfer.core.staging import remove_at_once, scratch_folder, staged_folder
from edgexfer.gate.judge.baseline import read_baseline, write_baseline
from tests.gate.baselines import make_baseline

KEY = EngineKey("a" * 64, "int8", "tensorrt 10.3.0", "Orin", "8.7")
OLD, NEW = "old", "new"


@dataclass(frozen=True)
class Write:
    """One kind of write.

    Attributes:
        name: of the test.
        do: writes the value that it is given below a folder; again and again.
        read: returns the value that is there, None where nothing is; raises where something is half-written.
        over: whether an older one is there before.
    """

    name: str
    do: Callable[[Path, str], object]
    read: Callable[[Path], str | None]
    over: bool = True


def _artifact(folder: Path, value: str) -> None:
    out = folder / "run"
    with held_place(out), scratch_folder(out) as scratch:
        (scratch / "on the way").write_text(value, encoding="utf-8")
        with staged_folder(out, overwrite=True) as stage:
            (stage / "candidates").mkdir()
            (stage / "candidates" / "one.onnx").write_text(value * 1000, encoding="utf-8")
            write_manifest(stage, "checkpoint", {"value": value})


def _read_artifact(folder: Path) -> str | None:
    if not (folder / "run").exists():
        return None
    return str(read_manifest(folder / "run", "checkpoint")["value"])


def _engine(folder: Path, value: str) -> None:
    store_engine(open_bundle(folder / "b.edgx"), KEY, value.encode() * 1000, build_seconds=1, replace=True)


def _read_engine(folder: Path) -> str | None:
    found = load_engine(open_bundle(folder / "b.edgx"), KEY)
    assert found is None or found in (OLD.encode() * 1000, NEW.encode() * 1000)
    return None if found is None else found[:3].decode()


def _timing(folder: Path, value: str) -> None:
    (folder / "b.edgx" / "engines").mkdir(exist_ok=True)
    write_timing_cache(open_bundle(folder / "b.edgx"), KEY, value.encode())


def _read_timing(folder: Path) -> str | None:
    found = read_timing_cache(open_bundle(folder / "b.edgx"), KEY)
    return None if found is None else found.decode()


def _choice(folder: Path, value: str) -> None:
    choice = EngineChoice("float32", "ort", value, "d", (value,))
    write_choice(open_bundle(folder / "b.edgx"), choice, reason="")


def _read_choice(folder: Path) -> str | None:
    found = read_choice(open_bundle(folder / "b.edgx"))
    return None if found is None else found.engine


def _baseline(folder: Path, value: str) -> None:
    write_baseline(make_baseline(threads={OLD: 1, NEW: 2}[value]), folder / "baselines" / "t" / "b.json")


def _read_baseline(folder: Path) -> str | None:
    path = folder / "baselines" / "t" / "b.json"
    return {1: OLD, 2: NEW}[read_baseline(path).threads or 0] if path.exists() else None


def _file(folder: Path, value: str) -> None:
    write_file(folder / "deep" / "gate.json", json.dumps({"value": value}))


def _read_file(folder: Path) -> str | None:
    path = folder / "deep" / "gate.json"
    return str(json.loads(path.read_bytes())["value"]) if path.exists() else None


def _removal(folder: Path, value: str) -> None:
    # What is removed at once, such as RUN.partial; NEW is that it is gone.
    place = folder / "run.partial"
    if value == OLD:
        for name in ("run.json", "history.csv"):
            write_file(place / name, value)
    elif place.exists():
        remove_at_once(place, folder / "run")
    with held_place(folder / "run"):
        pass


def _read_removal(folder: Path) -> str | None:
    place = folder / "run.partial"
    if not place.exists():
        return NEW
    assert sorted(path.name for path in place.iterdir()) == ["history.csv", "run.json"]
    return OLD


WRITES = [
    Write("an artifact", _artifact, _read_artifact),
    Write("a first artifact", _artifact, _read_artifact, over=False),
    Write("an engine", _engine, _read_engine),
    Write("a first engine", _engine, _read_engine, over=False),
    Write("a timing cache", _timing, _read_timing),
    Write("a choice of engine", _choice, _read_choice),
    Write("a baseline", _baseline, _read_baseline),
    Write("a first file", _file, _read_file, over=False),
    Write("a removal", _removal, _read_removal),
]
