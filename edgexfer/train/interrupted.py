"""RUN.partial: what an interrupted run left behind, and what becomes of it.

    run.json is there          it goes on with --resume
    run.json is missing        it was killed before anything was learned: the next run begins anew in its place
    RUN came of it             it was killed while it tidied up: nothing is left to do, and it is removed

Light, since the command line asks before PyTorch is loaded.
"""

from __future__ import annotations

import json
from pathlib import Path

from edgexfer.core.errors import ArtifactError
from edgexfer.core.manifest import read_manifest
from edgexfer.core.staging import remove_at_once

RECORD, HISTORY = "run.json", "history.csv"


def partial_of(run: Path) -> Path:
    """Returns where a run lies until it is finished."""
    return run.with_name(f"{run.name}.partial")


def is_finished(run: Path) -> bool:
    """Whether RUN came of what RUN.partial holds: both have one history, down to its seconds, and the same settings."""
    partial = partial_of(run)
    try:
        if (partial / HISTORY).read_bytes() != (run / HISTORY).read_bytes():
            return False
        settings = json.loads((partial / RECORD).read_bytes())["settings"]
        return bool(read_manifest(run, "checkpoint").get("settings") == settings)
    except (OSError, ValueError, KeyError, TypeError, ArtifactError):
        return False


def remove_partial(run: Path) -> None:
    """Removes RUN.partial: at every moment it is whole or gone."""
    remove_at_once(partial_of(run), run)


def remove_unwritten(run: Path) -> None:
    """Removes from RUN.partial what was being written when its process was killed; only who holds RUN may."""
    for path in partial_of(run).rglob(".*.tmp"):
        path.unlink(missing_ok=True)
