"""The readers of bundles against bytes that coverage guides: `python -m tests.hostile.guided --seconds 60`.

Atheris chooses the bytes of manifest, network, references and archive, with digests that are right again, and ends with
its own report; what is no EdgexferError ends it at once. Only edgexfer/core is instrumented: that is what reads.
"""

from __future__ import annotations

import argparse
import logging
import random
import sys
import tempfile
from pathlib import Path

import atheris

with atheris.instrument_imports(include=["edgexfer.core"]):
    from edgexfer.core.bundle import MODEL, REFERENCE
    from edgexfer.core.manifest import MANIFEST
    from tests.bundles import make_bundle
    from tests.hostile.long import attempt, spoil

KINDS = ("bytes", MODEL, REFERENCE, "archive")


def main() -> None:
    """Runs the command line; does not return: atheris ends the process."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=int, default=60)
    seconds = parser.parse_args().seconds
    logging.disable(logging.WARNING)
    folder = Path(tempfile.mkdtemp())
    base, corpus = make_bundle(folder / "base.edgx"), folder / "corpus"
    corpus.mkdir()
    for number, name in enumerate((MANIFEST, MODEL, REFERENCE)):
        (corpus / name).write_bytes(bytes([number]) + (base / name).read_bytes())

    def once(data: bytes) -> None:
        if len(data) > 1:
            kind = KINDS[data[0] % len(KINDS)]
            came = attempt(spoil(base, folder / "spoiled.edgx", kind, lambda _: data[1:], random.Random(0)))
            if came not in ("opened", "refused"):
                raise RuntimeError(f"{kind}: {came}")

    atheris.Setup([sys.argv[0], f"-max_total_time={seconds}", "-timeout=10", "-max_len=20000", str(corpus)], once)
    atheris.Fuzz()


if __name__ == "__main__":
    main()
