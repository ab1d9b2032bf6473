"""Unfit: is this the kind of machine whose times say anything about the target?"""

from __future__ import annotations

import platform

from edgexfer.gate.judge.evidence import Evidence


def unfit_here(seen: Evidence) -> str:
    """Returns why no time, memory or power that is measured here may be judged; "" where it may."""
    target, subject = seen.bundle.target, seen.subject
    if subject.simulated:
        return (
            f"{subject.engine} simulates the target {target.name} here, so its times are not the device's: judge them "
            "on the device, or take the limit away with --set METRIC.KIND=off"
        )
    machine = target.host.get("machine")
    if machine is not None and machine != platform.machine():
        return (
            f"this machine is {platform.machine()} ({seen.machine_class}), the target {target.name} is {machine}: "
            "judge on the device, or take the limit away with --set METRIC.KIND=off"
        )
    boards, board = target.host.get("boards") or (), seen.host.get("board")
    if boards and not any(str(board or "").startswith(name) for name in boards):
        return f"this board is {board or 'unknown'}, the target {target.name} means {' or '.join(boards)}"
    return ""
