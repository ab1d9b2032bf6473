"""Who holds a lock: told by the system where it can be asked (Linux), and by the holder's own note elsewhere."""

from __future__ import annotations

import json
import os
import socket
import sys
import time
from pathlib import Path

_FIELD_OF_START = 19
"""Of /proc/PID/stat behind the program's name, in ticks after boot: `starttime` of proc(5), the 22nd in all."""


def note_of_holder() -> bytes:
    """Returns what a process writes into its lock file: process id, host, time and command, as JSON."""
    words = (Path(sys.argv[0]).name, *sys.argv[1:])
    note = {"pid": os.getpid(), "host": socket.gethostname(), "since": _clock(time.time()), "command": " ".join(words)}
    return json.dumps(note).encode()


def holder_by_note(path: Path) -> str:
    """Returns in words who has locked a lock file, by the note in it."""
    try:
        note = json.loads(path.read_bytes())
        host = "" if note["host"] == socket.gethostname() else f" on {note['host']}"
        return f"process {int(note['pid'])}{host} (since {note['since']}: {note['command']})"
    except (OSError, ValueError, KeyError, TypeError):
        return "another process"  # it has not written yet, or has just gone


def holder_of_folder(folder: Path) -> str:
    """Returns in words who has locked a folder: Linux lists locks by inode in /proc/locks."""
    try:
        state = folder.stat()
        place = f"{os.major(state.st_dev):02x}:{os.minor(state.st_dev):02x}:{state.st_ino}"
        for line in Path("/proc/locks").read_text(encoding="ascii").splitlines():
            fields = line.split()
            if fields[1] == "FLOCK" and place in fields:
                return _process(int(fields[4]))
    except (OSError, ValueError, IndexError):
        pass
    return "another process"


def _process(pid: int) -> str:
    # Of another container's process only the number is known, if that.
    try:
        words = Path(f"/proc/{pid}/cmdline").read_bytes().decode("utf-8", "replace").strip("\0").split("\0")
        ticks = int(Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()[_FIELD_OF_START])
        age_s = time.clock_gettime(time.CLOCK_BOOTTIME) - ticks / os.sysconf("SC_CLK_TCK")
    except (OSError, ValueError, IndexError, AttributeError):
        return f"process {pid}" if pid > 0 else "another process"
    return f"process {pid} (since {_clock(time.time() - age_s)}: {' '.join(words)[:200]})"


def _clock(seconds: float) -> str:
    return time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(seconds))
