"""The readers of bundles against as many mutations as you like: `python -m tests.hostile.long --mutations 100000`.

Each mutation changes one file of a tiny bundle, with digests that are right again, or its archive, and opens it; no
engine runs. Counted are exceptions other than EdgexferError, mutations that took longer than a second, files opened
outside the bundle and the temporary folder (by Python's audit events), and the memory that the process grew by after
the first thousand. Bytes come from dice; tests/hostile/guided.py has them guided by coverage.
"""

from __future__ import annotations

import argparse
import random
import resource
import shutil
import sys
import sysconfig
import tempfile
import time
import zipfile
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

from edgexfer.core.bundle import MODEL, REFERENCE, open_bundle
from edgexfer.core.errors import EdgexferError
from edgexfer.core.manifest import MANIFEST
from tests.bundles import make_bundle
from tests.hostile.forge import forge

TOO_LONG_S = 1.0
MOST_GROWTH_MIB = 64
_WARM_UP = 1000
_OWN = (sysconfig.get_path("stdlib"),)  # what Python imports when it first needs it
_ODD: tuple[Any, ...] = (
    None,
    True,
    -1,
    0,
    1e308,
    10**30,
    10**400,
    float("inf"),
    float("nan"),
    "",
    "../x",
    "/etc/passwd",
    "\ud800",
    "\0",
    [],
    {},
    [[]],
    "x" * 999,
)
_TOKENS = (
    b"\xff" * 9,
    b"\0" * 8,
    b"../",
    b"location",
    b"Loop",
    b"[" * 99,
    b'"',
    b"NaN",
    b"PK\5\6",
    b"PK\1\2",
    b"\x3a\xff\x7f",
)
KINDS = ("bytes", "value", MODEL, REFERENCE, "archive")

opened_outside: list[str] = []
_inside: tuple[str, ...] = ()


def _listen(event: str, arguments: tuple[Any, ...]) -> None:
    if event == "open" and _inside and isinstance(arguments[0], (str, bytes)):
        path = arguments[0] if isinstance(arguments[0], str) else arguments[0].decode("utf-8", "replace")
        if not path.startswith(_inside):
            opened_outside.append(path)


def mutated(data: bytes, dice: random.Random) -> bytes:
    """Changes one to four places: a bit, a byte, a token, a stretch that goes or comes twice."""
    raw = bytearray(data)
    for _ in range(dice.randint(1, 4)):
        place = dice.randrange(len(raw) + 1)
        length = dice.choice((1, 1, 2, 4, 16, 64))
        how = dice.randrange(5)
        if how == 0 and place < len(raw):
            raw[place] ^= 1 << dice.randrange(8)
        elif how == 1:
            raw[place : place + length] = dice.randbytes(length)
        elif how == 2:
            raw[place:place] = dice.choice(_TOKENS)
        elif how == 3:
            del raw[place : place + length]
        else:
            raw[place:place] = raw[place : place + length]
    return bytes(raw)


def odd_value(manifest: dict[str, Any], dice: random.Random) -> None:
    """Puts something that does not belong there in the place of one value, however deep."""
    holder: Any = manifest
    while True:
        keys = list(holder) if isinstance(holder, dict) else list(range(len(holder)))
        if not keys:
            return
        key = dice.choice(keys)
        if isinstance(holder[key], (dict, list)) and holder[key] and dice.random() < 0.7:
            holder = holder[key]
            continue
        holder[key] = dice.choice(_ODD)
        return


def spoil(base: Path, place: Path, kind: str, change: Callable[[bytes], bytes], dice: random.Random) -> Path:
    """Makes a spoiled copy of the bundle `base` at `place` and returns what is to be opened."""
    shutil.rmtree(place, ignore_errors=True)
    shutil.copytree(base, place)
    if kind == "archive":
        packed = place / "tiny.edgx.zip"
        with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
            for path in sorted(base.iterdir()):
                archive.write(path, f"tiny.edgx/{path.name}")
        packed.write_bytes(change(packed.read_bytes()))
        return packed
    if kind == "value":
        return forge(place, lambda manifest: odd_value(manifest, dice))
    name = MANIFEST if kind == "bytes" else kind
    (place / name).write_bytes(change((place / name).read_bytes()))
    return place if kind == "bytes" else forge(place)


def attempt(place: Path) -> str:
    """Opens what is there and returns what came of it: "opened", "refused" or the name of what should not come."""
    try:
        open_bundle(place).references()
    except EdgexferError:
        return "refused"
    except Exception as error:  # noqa: BLE001 - that is what is looked for
        return type(error).__name__
    return "opened"


def run(mutations: int, seed: int, folder: Path) -> Counter[str]:
    """Tries that many; returns how often what came of it, by kind."""
    global _inside
    base, counts, peak = make_bundle(folder / "base.edgx"), Counter[str](), 0
    attempt(base)  # what is imported late is imported now
    sys.addaudithook(_listen)
    for number in range(mutations):
        dice = random.Random(seed + number)
        kind = dice.choice(KINDS)
        place = spoil(base, folder / "spoiled.edgx", kind, lambda data, dice=dice: mutated(data, dice), dice)  # type: ignore[misc]
        started, _inside = time.process_time(), (str(folder), tempfile.gettempdir(), *_OWN)
        came = attempt(place)
        seconds, _inside = time.process_time() - started, ()
        counts[f"{kind}: {came}"] += 1
        if came not in ("opened", "refused") or seconds > TOO_LONG_S:
            print(f"seed {seed + number}, {kind}: {came} in {seconds:.2f} s", flush=True)
            counts["slow" if seconds > TOO_LONG_S else "crashed"] += 1
        if number == _WARM_UP:
            peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        if number % 10_000 == 0:
            print(f"{number} done, opened outside: {opened_outside[-3:] or 0}", flush=True)
    counts["MiB grown"] = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - peak) // 1024 if peak else 0
    return counts


def main() -> int:
    """Runs the command line; returns 1 where anything came that should not."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--mutations", type=int, default=100_000)
    parser.add_argument("--seed", type=int, default=0)
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        counts = run(asked.mutations, asked.seed, Path(name))
    for what, count in sorted(counts.items()):
        print(f"{count:8}  {what}")
    print(f"{len(opened_outside):8}  files opened outside: {sorted(set(opened_outside))[:5]}")
    bad = counts["crashed"] + counts["slow"] + len(opened_outside)
    return int(bad > 0 or counts["MiB grown"] > MOST_GROWTH_MIB)


if __name__ == "__main__":
    sys.exit(main())
