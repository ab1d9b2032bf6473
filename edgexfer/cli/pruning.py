"""What `--prune` means to a verb: read before PyTorch is loaded, and its table of points on the way."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

from edgexfer.cli import show
from edgexfer.core.errors import ArtifactError, SettingsError
from edgexfer.core.target import Target
from edgexfer.train.prune.goal import Goal, parse_goal


def asked_goal(
    text: str | None, run: Path, target: Target, epochs: int | None = None, *, keep_input_size: bool = False
) -> Goal | None:
    """Reads `--prune`; None where it was not given.

    Raises:
        SettingsError: another form, an unknown measure, a ratio or epochs out of range.
        ArtifactError: RUN is quantized or pruned already.
        MissingPartError: latency is asked for, and the target's engine is not here.
    """
    if text is None:
        if epochs is not None:
            raise SettingsError("--prune-epochs is given without --prune", "say what shall be left, as in macs=0.5")
        if keep_input_size:
            raise SettingsError("--keep-input-size is given without --prune", "say what shall be left, as in macs=0.5")
        return None
    goal = replace(parse_goal(text), keep_input_size=keep_input_size)
    if epochs is not None and epochs < 0:
        raise SettingsError(f"--prune-epochs is {epochs}, expected 0 or more")
    if run.exists():
        from edgexfer.core.manifest import read_manifest

        manifest = read_manifest(run, "checkpoint")
        for key, word in (
            ("quantization", "quantized"),
            ("pruning", "pruned already"),
            ("sparsity", "sparse already"),
        ):
            if manifest.get(key) is not None:
                raise ArtifactError(f"{run} is {word}, --prune takes a float RUN", "give the RUN it was made from")
    if goal.measure == "latency":
        from edgexfer.backends import check_layer_timer

        check_layer_timer(target)
    return goal


def print_pruning(record: dict[str, Any] | None) -> None:
    """Prints the points on the way, the unpruned network first; nothing where nothing was pruned."""
    from edgexfer.gate.report.pruning import pruning_about, pruning_table

    found = pruning_table(record)
    if record is None or found is None:
        return
    made = show.table(*found.head, right=found.head, title=found.caption)
    for row in found.rows:
        made.add_row(*row)
    show.console().print(made)
    show.line(pruning_about(record), "dim")
