"""What `--sparsity` means to a verb: read before PyTorch is loaded, and what it says of what the zeros gain."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from edgexfer.cli import show
from edgexfer.core.errors import ArtifactError, SettingsError
from edgexfer.train.sparse.asked import Sparsity, parse_sparsity


def asked_sparsity(text: str | None, how: str | None, run: Path, epochs: int | None = None) -> Sparsity | None:
    """Reads `--sparsity` and `--sparsity-how`; None where neither was given.

    Raises:
        SettingsError: another form, a share or epochs out of range, or an option that needs the other.
        ArtifactError: RUN is quantized or sparse already.
    """
    if text is None:
        for option, value in (("--sparsity-how", how), ("--sparsity-epochs", epochs)):
            if value is not None:
                raise SettingsError(f"{option} is given without --sparsity", "say how much, as in --sparsity 0.6")
        return None
    sparsity = parse_sparsity(text, how)
    if epochs is not None and epochs < 0:
        raise SettingsError(f"--sparsity-epochs is {epochs}, expected 0 or more")
    if run.exists():
        from edgexfer.core.manifest import read_manifest

        manifest = read_manifest(run, "checkpoint")
        for key, word in (("quantization", "quantized"), ("sparsity", "sparse already")):
            if manifest.get(key) is not None:
                raise ArtifactError(
                    f"{run} is {word}, --sparsity takes a dense float RUN", "give the RUN it was made from"
                )
    return sparsity


def print_sparsity(record: dict[str, Any] | None, target: str = "") -> None:
    """Prints the points on the way, the dense network first, and what was gained; nothing where none was asked for.

    Args:
        record: `sparsity` of a manifest.
        target: name of the target that `gain` in it was measured for.
    """
    from edgexfer.gate.report.sparsity import sparsity_gained, sparsity_table

    found = sparsity_table(record)
    if record is None or found is None:
        return
    made = show.table(*found.head, right=found.head, title=found.caption)
    for row in found.rows:
        made.add_row(*row)
    show.console().print(made)
    for line in sparsity_gained(record, target):
        show.line(line)
