"""The readers against bytes that coverage guides.

    python -m tests.hostile.guided --seconds 60                   bundles
    python -m tests.hostile.guided --seconds 60 --record layers   one of the records of tests/hostile/records.py

Atheris chooses the bytes of manifest, network, references and archive, with digests that are right again, or of one
record, and changes values where they are JSON; it ends with its own report. What is no EdgexferError ends it at once.
"""

from __future__ import annotations

import argparse
import logging
import random
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

import atheris

with atheris.instrument_imports(include=["edgexfer.core", "edgexfer.gate", "edgexfer.trust"]):
    from edgexfer.core.bundle import MODEL, REFERENCE
    from edgexfer.core.manifest import MANIFEST
    from tests.bundles import make_bundle
    from tests.hostile import records
    from tests.hostile.long import attempt, spoil

_HANGS_S = 10
KINDS = ("bytes", MODEL, REFERENCE, "archive")


def main() -> None:
    """Runs the command line; does not return: atheris ends the process."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=int, default=60)
    parser.add_argument("--record", choices=sorted(records.RECORDS), help="by default bundles")
    asked = parser.parse_args()
    logging.disable(logging.WARNING)
    folder = Path(tempfile.mkdtemp())
    corpus = folder / "corpus"
    corpus.mkdir()
    options: dict[str, Callable[[bytes, int, int], bytes]] = {}
    hangs_s = _HANGS_S
    if asked.record:
        record = records.RECORDS[asked.record]
        hangs_s = max(hangs_s, round(record.too_long_s))
        once = _one_record(record, folder / "record", corpus)
        options = {"custom_mutator": lambda data, most, seed: records.spoiled(data, random.Random(seed))[:most]}
    else:
        once = _bundle(folder, corpus)
    longest = max(20_000, *(2 * file.stat().st_size for file in corpus.iterdir()))
    limits = [f"-max_total_time={asked.seconds}", f"-timeout={hangs_s}", f"-max_len={longest}"]
    atheris.Setup([sys.argv[0], *limits, str(corpus)], once, **options)
    atheris.Fuzz()


def _bundle(folder: Path, corpus: Path) -> Callable[[bytes], None]:
    base = make_bundle(folder / "base.edgx")
    for number, name in enumerate((MANIFEST, MODEL, REFERENCE)):
        (corpus / name).write_bytes(bytes([number]) + (base / name).read_bytes())

    def once(data: bytes) -> None:
        if len(data) > 1:
            kind = KINDS[data[0] % len(KINDS)]
            came = attempt(spoil(base, folder / "spoiled.edgx", kind, lambda _: data[1:], random.Random(0)))
            if came not in ("opened", "refused"):
                raise RuntimeError(f"{kind}: {came}")

    return once


def _one_record(record: records.Record, folder: Path, corpus: Path) -> Callable[[bytes], None]:
    folder.mkdir()
    record.make(folder)
    place = folder / record.file
    (corpus / place.name).write_bytes(place.read_bytes())

    def once(data: bytes) -> None:
        place.write_bytes(data)
        came = records.attempt(record, folder)
        if came not in ("used", "refused"):
            raise RuntimeError(f"{record.file}: {came}")

    return once


if __name__ == "__main__":
    main()
