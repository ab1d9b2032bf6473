"""What the runners of time_to_accuracy answered, as a table and as verdicts. Their lines are runners/given.py's."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

OURS = "edgexfer"
SOONER, ABOVE_POINTS, SOONER_TO_GOAL = 8.0, 1.5, 3.0  # what is aimed at


@dataclass(frozen=True)
class Run:
    """One recipe on one data set.

    Attributes:
        runner: its name.
        evaluations: (seconds, top-1 on val) of every epoch.
        done: the last line, empty where it did not end well.
        skipped: why it did not.
    """

    runner: str
    evaluations: tuple[tuple[float, float], ...] = ()
    done: dict[str, Any] = field(default_factory=dict)
    skipped: str = ""

    @staticmethod
    def read(runner: str, file: Path) -> Run:
        """Reads a runner's JSON lines; without them it has not run."""
        if not file.is_file():
            return Run(runner, skipped="was not run")
        lines = [json.loads(line) for line in file.read_text(encoding="utf-8").splitlines() if line.strip()]
        evaluations = tuple((line["seconds"], line["top1"]) for line in lines if "top1" in line)
        done = next((line for line in lines if line.get("done")), {})
        skipped = next((line["skipped"] for line in lines if "skipped" in line), "" if done else "did not end")
        return Run(runner, evaluations, done, skipped)

    @property
    def best(self) -> tuple[float, float]:
        """The highest top-1 on val, and the seconds after which it was first there."""
        top1 = max(found for _, found in self.evaluations)
        return top1, self.seconds_to(top1) or 0.0

    @property
    def versions(self) -> dict[str, str]:
        """The versions that it ran with."""
        return dict(self.done.get("versions", {}))

    def seconds_to(self, top1: float) -> float | None:
        """Returns the seconds after which `top1` was first reached, None where it never was."""
        return next((seconds for seconds, found in self.evaluations if found >= top1 - 1e-6), None)


def finished(runs: Sequence[Run]) -> list[Run]:
    """Returns the runs that came to their end."""
    return [run for run in runs if run.done and run.evaluations and not run.skipped]


def best_peer(runs: Sequence[Run]) -> Run | None:
    """Returns the peer with the highest top-1, of equals the one that was there first."""
    peers = [run for run in finished(runs) if run.runner != OURS]
    return max(peers, key=lambda run: (run.best[0], -run.best[1]), default=None)


def table(runs: Sequence[Run], goal: float | None) -> str:
    """Returns a Markdown table with a row for each run, and below it each recipe in words."""
    peer = best_peer(runs)
    heads = ["", "input", "best top-1", "after s", "kept top-1", "kept, on test", "in all s"]
    aims = [aim for aim in (peer.best[0] if peer else None, goal) if aim is not None]
    heads += [f"{100 * aim:.2f} % after s" for aim in aims]
    lines = [_row(heads), _row(["---"] * len(heads))]
    for run in runs:
        if run not in finished(runs):
            lines.append(_row([run.runner, f"skipped: {run.skipped}", *[""] * (len(heads) - 2)]))
            continue
        top1, after = run.best
        cells = [run.runner, str(run.done["size"]), _percent(top1), f"{after:.1f}", _percent(run.done["kept"])]
        cells += [_percent(run.done["test"]), f"{run.done['seconds']:.1f}"]
        reached = [run.seconds_to(aim) for aim in aims]
        lines.append(_row([*cells, *["never" if seconds is None else f"{seconds:.1f}" for seconds in reached]]))
    recipes = [f"{run.runner}: {run.done['recipe']}." for run in finished(runs)]
    return "\n".join([*lines, "", *(f"- {recipe}" for recipe in recipes)])


def verdicts(runs: Sequence[Run], goal: float | None) -> list[str]:
    """Returns what the figures say about the aims.

    Without a goal: as good as the best peer at its best much sooner, and better in the end. With one: there sooner.
    """
    ours = next((run for run in finished(runs) if run.runner == OURS), None)
    peer = best_peer(runs)
    if ours is None or peer is None:
        return ["no verdict: edgexfer and one peer have to come to their end"]
    if goal is not None:
        return [_at_goal(runs, ours, goal)]
    top1, after = peer.best
    reached = ours.seconds_to(top1)
    sooner = after / reached if reached else 0.0
    points = 100 * (ours.done["kept"] - top1)
    told = f"after {reached:.1f} s, {sooner:.1f} times sooner" if reached else "never"
    high = points >= ABOVE_POINTS - 1e-6
    theirs = f"{peer.runner} has the best top-1 of the peers, {_percent(top1)} after {after:.1f} s"
    return [
        f"{theirs}; edgexfer reaches it {told} (aim: {SOONER:g} times): {_word(sooner >= SOONER)}",
        f"edgexfer ends {points:+.2f} points from that (aim: {ABOVE_POINTS:+g}): {_word(high)}",
    ]


def _at_goal(runs: Sequence[Run], ours: Run, goal: float) -> str:
    mine = ours.seconds_to(goal)
    rivals = [(seconds, run) for run in finished(runs) if run is not ours and (seconds := run.seconds_to(goal))]
    if not rivals:
        return f"{_percent(goal)}: no peer reaches it; edgexfer " + (f"does after {mine:.1f} s" if mine else "neither")
    first, rival = min(rivals, key=lambda pair: pair[0])
    ratio = first / mine if mine else 0.0
    told = f"edgexfer after {mine:.1f} s, {ratio:.1f} times sooner" if mine else "edgexfer never"
    aim = f"(aim: {SOONER_TO_GOAL:g} times): {_word(ratio >= SOONER_TO_GOAL)}"
    return f"{_percent(goal)}: {rival.runner} after {first:.1f} s, {told} {aim}"


def _row(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _percent(share: float | None) -> str:
    return "" if share is None else f"{100 * share:.2f} %"


def _word(good: bool) -> str:
    return "**reached**" if good else "**missed**"
