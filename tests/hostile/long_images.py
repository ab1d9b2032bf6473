"""Image files from strangers at all three doors: `python -m tests.hostile.long_images --images 10000`.

First each file is read by itself in a process that is watched, see image_watch.py. Then all of them lie in class
folders beside good pictures: `edgexfer data check` and `edgexfer finetune` go over the folders, and a classifier
predicts each file, alone and in batches. All must decide alike on every file, and what the classifier says of a good
picture after a bad one must not change.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import multiprocessing
import re
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

from edgexfer import Classifier, load
from edgexfer.core.errors import ImageError
from tests.bundles import make_bundle
from tests.hostile.image_mutants import Mutant, mutant
from tests.hostile.image_seeds import image_seeds, largest_of_each, saved, scene
from tests.hostile.image_watch import Watched, watch
from tests.train.pictures import picture_tree

_BATCH = 50
_FEW = "--backbone mobilenetv2-050 --weights none --epochs 1 --input-size 32 --device cpu --batch-size 64"


def corpus(images: int, first: int = 0, *, largest: bool = False) -> Iterator[Mutant]:
    """Yields the mutants of so many numbers, and with `largest` what is just below every limit."""
    seeds = image_seeds()
    for number in range(first, first + images):
        yield mutant(number, seeds)
    for name, data in largest_of_each().items() if largest else ():
        yield Mutant(f"{name.replace(' ', '-')}.png", name, data)


def lay_out(mutants: Iterator[Mutant], data: Path, good: Sequence[int] = (40, 40)) -> dict[str, str]:
    """Writes mutants into the class folders of good pictures; returns {name: path in the data set}."""
    picture_tree(data, good)
    placed = {}
    for each in mutants:
        # The same content in the same class: copies are no conflict.
        label = "ab"[hashlib.sha256(each.data).digest()[0] % len(good)]
        placed[each.name] = f"{label}/{each.name}"
        (data / placed[each.name]).write_bytes(each.data)
    return placed


def checked(data: Path, record: Path) -> dict[str, str]:
    """Returns {path: reason} of what `edgexfer data check` leaves out."""
    _edgexfer("data", "check", str(data), "--json", str(record))
    return {item["path"]: item["reason"] for item in json.loads(record.read_bytes())["rejected"]}


def trained(data: Path, run: Path) -> dict[str, str]:
    """Returns {path: reason} of what `edgexfer finetune` leaves out."""
    _edgexfer("finetune", str(data), "--out", str(run), *_FEW.split())
    manifest = json.loads((run / "manifest.json").read_bytes())
    return {item["path"]: item["reason"] for item in manifest["images_left_out"]}


def predicted(classifier: Classifier, paths: Sequence[Path]) -> dict[Path, str]:
    """Returns {path: reason} of what a classifier refuses, alone and in batches.

    Raises:
        AssertionError: the two differ, or a good picture is another one after a bad one or beside it.
    """
    good = saved(scene(), "PNG")
    expected = classifier(good)
    refused: dict[Path, str] = {}
    alone: list[Any] = []
    for path in paths:
        try:
            alone.append(classifier(path).probabilities.tolist())
        except ImageError as error:
            refused[path] = error.message.removeprefix(f"{path} ")
            alone.append(refused[path])
            assert classifier(good).probabilities.tolist() == expected.probabilities.tolist(), path
    for start in range(0, len(paths), _BATCH):
        part = [*paths[start : start + _BATCH], good]
        found = classifier.batch(part, batch_size=16, errors="yield")
        for path, one, before in zip(part, found, [*alone[start : start + _BATCH], expected], strict=True):
            if isinstance(one, ImageError):
                assert one.message == f"{path!s} {before}", (one.message, before)
            else:
                now = before.probabilities.tolist() if path is good else before
                assert max(abs(a - b) for a, b in zip(one.probabilities.tolist(), now, strict=True)) < 1e-5, path
    return refused


def differences(watched: Watched, placed: dict[str, str], **doors: dict[str, str]) -> list[str]:
    """Returns, in sentences, each file on which a door decides unlike reading it alone did."""
    found = []
    for name, place in placed.items():
        for door, refused in doors.items():
            if refused.get(place, "") != watched.came[name]:
                found.append(
                    f"{name} ({watched.kinds[name]}): {door} {refused.get(place)!r}, alone {watched.came[name]!r}"
                )
    return found


def watch_apart(images: int, first: int, folder: Path) -> Watched:
    """Watches in a process of its own; that it died is an exception here."""
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(1, mp_context=context) as pool:
        return pool.submit(_watch_here, images, first, folder).result()


def _watch_here(images: int, first: int, folder: Path) -> Watched:
    return watch(corpus(images, first, largest=images >= 1000), folder)


def _edgexfer(*arguments: str) -> None:
    done = subprocess.run([sys.executable, "-m", "edgexfer", *arguments], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
    # Python's warnings; libtiff says "Warning," by itself.
    assert not re.search(r"\w+Warning: |Traceback", done.stderr), done.stderr[-2000:]


def tell(watched: Watched) -> None:
    """Prints what came of reading each file alone."""
    used = Counter(not reason for reason in watched.came.values())
    words = Counter(" ".join(reason.split()[:2]).rstrip(":") for reason in watched.came.values() if reason)
    print(f"{used[True]} used, {used[False]} refused: {dict(words.most_common())}")
    for what, (most, kind), unit in (("slowest", watched.slowest, "s"), ("largest", watched.largest, "MiB")):
        print(f"{what}: {most:.2f} {unit}, {kind}")
    print(f"libraries wrote to stderr: {watched.said[:5] or 'nothing'}")


def main() -> int:
    """Runs the command line; returns 1 where anything came that should not."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=10_000)
    parser.add_argument("--first", type=int, default=0, help="the number of the first mutant")
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder, started = Path(name), time.monotonic()
        (folder / "alone").mkdir()
        watched = watch_apart(asked.images, asked.first, folder / "alone")
        tell(watched)
        print(f"read alone after {time.monotonic() - started:.0f} s", flush=True)
        placed = lay_out(corpus(asked.images, asked.first), folder / "data")
        doors = {"check": checked(folder / "data", folder / "check.json")}
        print(f"checked after {time.monotonic() - started:.0f} s", flush=True)
        doors["finetune"] = trained(folder / "data", folder / "run")
        print(f"trained after {time.monotonic() - started:.0f} s", flush=True)
        with load(make_bundle(folder / "tiny.edgx")) as classifier:
            paths = {folder / "data" / place: place for place in placed.values()}
            doors["runtime"] = {paths[path]: reason for path, reason in predicted(classifier, list(paths)).items()}
        print(f"predicted after {time.monotonic() - started:.0f} s", flush=True)
    bad = [*watched.bad, *differences(watched, placed, **doors)]
    print("\n".join(bad[:50]) or "nothing that should not be", f"\n{len(bad)} in all" if bad else "")
    return int(bool(bad))


if __name__ == "__main__":
    sys.exit(main())
