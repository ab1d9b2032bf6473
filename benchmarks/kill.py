"""Kills verbs of the command line, again and again, and looks whether what is promised of crashes holds.

    python benchmarks/kill.py [--verb finetune --verb export] [--kills 50] [--seed 0]
    python benchmarks/kill.py [--verb finetune --verb export] --every-point [--step 1] [--first 0]

Each verb works on 20 pictures of 32 pixels, in a child of this process, which has loaded PyTorch already. It is killed
by SIGKILL after a random share of the CPU time that it needs in all. With --every-point it runs once, and its files are
copied as a kill before and after every call that renames a file or flushes it to the disk would leave them
(tests/faults/copied.py); from each copy that differs it goes on. After each kill: what is there opens whole, or is not
there; the same command, with --resume where something can be resumed, ends with 0; it ends with the same weights, byte
by byte, as a run that nobody disturbed; and nothing else is left behind. Exit code 1 where one of these fails.
"""

from __future__ import annotations

import argparse
import os
import random
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from functools import partial
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from tests.faults.copied import all_copied, go_on_from
from tests.faults.forked import in_child
from tests.faults.struck import Whole, strike, whole
from tests.faults.verbs import VERBS, Verb, call, make_shared

HEAD = "| verb | struck | kills | had ended | resumed | began anew | promises broken |\n|---|---|---|---|---|---|---|"


def main() -> int:
    """Runs it; returns the exit code."""
    asked = _asked()
    os.environ["OMP_NUM_THREADS"] = "1"
    import torch

    torch.set_num_threads(1)
    broken = 0
    rows = []
    with tempfile.TemporaryDirectory() as name:
        shared = Path(name) / "shared"
        make_shared(shared)
        if {"compress", "export"} & set(asked.verb):
            words = [*VERBS["finetune"].command(shared, shared)]
            ended = in_child(lambda: call(words), within_s=3600)
            if ended.code:
                sys.exit(ended.said)
        for verb in (VERBS[each] for each in asked.verb):
            undisturbed = whole(verb, shared, Path(name) / verb.name / "undisturbed")
            print(f"{verb.name}: {undisturbed.cpu_s:.1f} s of CPU, {len(undisturbed.points)} points", flush=True)
            row, failed = _struck(verb, shared, Path(name) / verb.name, undisturbed, asked)
            rows.append(row)
            broken += failed
    print("\n".join(["", HEAD, *rows]))
    return 1 if broken else 0


def _struck(verb: Verb, shared: Path, folder: Path, undisturbed: Whole, asked: argparse.Namespace) -> tuple[str, int]:
    chance = random.Random(asked.seed)
    seen: Counter[str] = Counter()
    blows: list[tuple[str, Callable[[], str]]] = []
    if asked.every_point:
        copies = all_copied(verb, shared, folder / "copies")
        print(f"{verb.name}: files differ at {len(copies)} of {len(undisturbed.points)} points", flush=True)
        how = f"all {len(undisturbed.points)} points" + (f", every {asked.step}th state" if asked.step > 1 else "")
        for one in copies[asked.first :: asked.step]:
            where = f"points {', '.join(map(str, one.points))} ({undisturbed.points[one.points[0]]})"
            blows.append((where, partial(go_on_from, one, verb, shared, undisturbed)))
    else:
        how = "random moments"
        for number in range(asked.kills):
            moment = chance.uniform(0, undisturbed.cpu_s)
            blow = partial(strike, verb, shared, folder / str(number), undisturbed, after_s=moment)
            blows.append((f"{moment:.2f} s", blow))
    for where, blow in blows:
        began = time.monotonic()
        try:
            came = blow()
        except Exception as error:  # noqa: BLE001 - it is counted and shown, and the next kill comes
            came, where = "BROKEN", f"{where}: {error}"
        seen[came] += 1
        seconds = time.monotonic() - began
        print(f"{verb.name} {seen.total()} of {len(blows)}, at {where}: {came}, {seconds:.0f} s", flush=True)
    kinds = [str(seen[kind]) for kind in ("had ended", "resumed", "began anew", "BROKEN")]
    return f"| {verb.name} | {how} | {len(blows)} | {' | '.join(kinds)} |", seen["BROKEN"]


def _asked() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--verb", action="append", choices=sorted(VERBS), help="by default finetune and export")
    parser.add_argument("--kills", type=int, default=50, help="random ones of each verb")
    parser.add_argument("--every-point", action="store_true", help="at every rename and flush, not at random")
    parser.add_argument("--step", type=int, default=1, help="with --every-point: from every n-th copy alone")
    parser.add_argument("--first", type=int, default=0, help="with --every-point: from that copy on, 0 the first")
    parser.add_argument("--seed", type=int, default=0, help="of the moments")
    asked = parser.parse_args()
    asked.verb = asked.verb or ["finetune", "export"]
    return asked


if __name__ == "__main__":
    sys.exit(main())
