"""The verbs that leave artifacts, on pictures of 32 pixels: what they start from, and what must hold after a blow."""

from __future__ import annotations

import importlib
import json
import shutil
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from edgexfer.core.bundle import open_bundle
from edgexfer.core.engine_choice import read_choice
from edgexfer.core.engines import check_engine, key_of
from edgexfer.core.errors import ArtifactError
from edgexfer.core.files import sha256_of_file
from edgexfer.gate.judge.baseline import read_baseline
from edgexfer.gate.measure.measured import read_measured
from tests.bundles import make_bundle
from tests.train.pictures import picture_tree

_PLAIN = ("--device", "cpu")
_QUICK = ("--backbone", "mobilenetv2-050", "--weights", "none", "--strategy", "finetune", "--epochs", "2")
_COMPARED = ("weights.safetensors", "split.csv")
_SMALL = ("--batch-size", "4", "--input-size", "32")


@dataclass(frozen=True)
class Verb:
    """One verb of the command line, and what is promised of it.

    Attributes:
        name: of the verb.
        begin: puts what it starts from into an empty folder; called with that folder and a folder for what is shared.
        command: its words, given the same two.
        sound: raises where something half-written can be opened, or something whole can not.
        result: what must be the same, hit or not.
        resumed: how it is begun again after it was hit; None where it had ended.
    """

    name: str
    begin: Callable[[Path, Path], None]
    command: Callable[[Path, Path], list[str]]
    sound: Callable[[Path], None]
    result: Callable[[Path], object]
    resumed: Callable[[Path, list[str]], list[str] | None] = field(default=lambda _, words: words)

    def again(self, folder: Path, shared: Path) -> list[str] | None:
        """Returns the words that a user would type now; None where the verb had ended."""
        return self.resumed(folder, self.command(folder, shared))


def call(words: list[str]) -> int:
    """Runs the command line in this process and returns its exit code."""
    from edgexfer.cli.main import run

    with quick():
        code = run(words)
    sys.stdout.flush()
    sys.stderr.flush()
    return code


@contextmanager
def quick() -> Iterator[None]:
    """Lets measuring end at once: how long it takes is no matter here."""
    from edgexfer.flow import build, export
    from edgexfer.gate.judge import accept

    start = accept.started_in_turns
    with pytest.MonkeyPatch.context() as patch:
        for module in (build, export):
            patch.setattr(module, "BENCH_SECONDS", 0.05)
        patch.setattr(accept, "unsteady", lambda *_: [])
        patch.setattr(accept, "contended", lambda *_: [])
        patch.setattr(accept, "started_in_turns", lambda bundles, **settings: start(bundles, 1, **settings))
        yield


def import_all(names: list[str]) -> None:
    """Imports modules that a verb needed in a child, so that the next children need not load them."""
    for name in names:
        with suppress(Exception):
            importlib.import_module(name)


def make_shared(shared: Path) -> None:
    """Makes the pictures, once for all; and, by `finetune` in this process, the checkpoint that others start from."""
    picture_tree(shared / "data", (10, 10), noise=40.0)


def _finetune(folder: Path, shared: Path) -> list[str]:
    return ["finetune", str(shared / "data"), "--out", str(folder / "run"), *_QUICK, *_SMALL, *_PLAIN]


def _resumed(folder: Path, words: list[str]) -> list[str] | None:
    if (folder / "run.partial").exists():
        return [*words[:4], "--resume"] if (folder / "run.partial" / "run.json").exists() else [*words, "--resume"]
    return None if (folder / "run").exists() else words


def _checkpoint(folder: Path) -> None:
    from edgexfer.train.checkpoint import open_checkpoint

    if folder.exists():
        open_checkpoint(folder).state()
    else:
        with pytest.raises(ArtifactError):
            open_checkpoint(folder)


def _weights(folder: Path) -> object:
    """Returns what an error can name of weights, split and figures: digests, and the history without its seconds."""
    table = [line.rpartition(",")[0] for line in (folder / "history.csv").read_text(encoding="utf-8").splitlines()]
    weights, split = (sha256_of_file(folder / name) for name in _COMPARED)
    return weights, split, table


def _run(folder: Path, shared: Path) -> None:
    shutil.copytree(shared / "run", folder / "run")


def _sound_export(folder: Path) -> None:
    for name in ("run", "run.int8-ort"):
        _checkpoint(folder / name)
    if (folder / "made.edgx").exists():
        open_bundle(folder / "made.edgx")


def _measured(folder: Path) -> list[str]:
    """Returns the precisions that were measured; which of them is shipped is for the clock to say."""
    return sorted(record.precision for record in read_measured(open_bundle(folder)))


def _compress(folder: Path, shared: Path) -> list[str]:
    where = ["--target", "x86-cpu", "--data", str(shared / "data"), "--epochs", "1"]
    return ["compress", str(folder / "run"), *where, "--overwrite", *_PLAIN]


def _export(folder: Path, shared: Path) -> list[str]:
    where = ["--target", "x86-cpu", "--data", str(shared / "data"), "--out", str(folder / "made.edgx")]
    return ["export", str(folder / "run"), *where, "--epochs", "1", "--overwrite", *_PLAIN]


def _bundle(folder: Path, shared: Path) -> None:
    del shared
    make_bundle(folder / "made.edgx", backend="fake", options={"latency_ms": 0.5})


def _two_engines(folder: Path, shared: Path) -> None:
    del shared
    make_bundle(folder / "made.edgx", backend="ort", rivals=("openvino",))


def _sound_build(folder: Path) -> None:
    bundle = open_bundle(folder / "made.edgx")
    read_choice(bundle)
    for manifest in bundle.folder.glob("engines/[!.]*/manifest.json"):
        key = key_of(json.loads(manifest.read_bytes()))
        assert key is not None, manifest
        assert check_engine(bundle, key) is not None, manifest


def _built(folder: Path) -> object:
    bundle = open_bundle(folder / "made.edgx")
    choice = read_choice(bundle)
    engines = sorted(path.parent.name for path in bundle.folder.glob("engines/*/manifest.json"))
    return bundle.digest, choice and choice.considered, engines


def _accept(folder: Path, shared: Path) -> list[str]:
    del shared
    where = ["--baselines", str(folder / "baselines"), "--by", "Ada", "--why", "again"]
    return ["baseline", "accept", str(folder / "made.edgx"), *where, "--seconds", "0.05", "--threads", "1"]


def _sound_baseline(folder: Path) -> None:
    for path in folder.glob("baselines/*/*.json"):
        read_baseline(path)


VERBS = {
    verb.name: verb
    for verb in (
        Verb(
            "finetune",
            lambda *_: None,
            _finetune,
            lambda folder: _checkpoint(folder / "run"),
            lambda folder: _weights(folder / "run"),
            _resumed,
        ),
        Verb("compress", _run, _compress, _sound_export, lambda folder: _weights(folder / "run.int8-ort")),
        Verb(
            "export",
            _run,
            _export,
            _sound_export,
            lambda folder: (_weights(folder / "run.int8-ort"), _measured(folder / "made.edgx")),
        ),
        Verb(
            "build",
            _two_engines,
            lambda folder, _: ["build", str(folder / "made.edgx")],
            _sound_build,
            _built,
        ),
        Verb(
            "baseline accept",
            _bundle,
            _accept,
            _sound_baseline,
            lambda folder: len(list(folder.glob("baselines/*/*.json"))),
        ),
    )
}
