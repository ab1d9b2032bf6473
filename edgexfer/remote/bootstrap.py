"""What starts the agent: a line for `python3 -c`, and the agent's modules as one source text for its input."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path

MARK = "edgexfer-agent"

# Any Python reads this, however old, so that it can say how old it is. `""` on the path is the user's home there, where
# a file of theirs could shadow the standard library. See ssh.ssh_command for the characters that may not be in it.
BOOTSTRAP = (
    "import sys;"
    "sys.path=[p for p in sys.path if p];"
    f'sys.stdout.write("{MARK} %d.%d.%d" % sys.version_info[:3] + chr(10));'
    "sys.stdout.flush();"
    "i=sys.stdin.buffer;"
    "exec(i.read(int(i.readline())))"
)

# In the order of their imports. The packages above them are empty there: what they hold here is not needed.
_PACKAGES = ("edgexfer", "edgexfer.remote", "edgexfer.remote.agent")
_MODULES = (
    "edgexfer.remote.wire",
    "edgexfer.remote.agent.home",
    "edgexfer.remote.agent.store",
    "edgexfer.remote.agent.child",
    "edgexfer.remote.agent.packages",
    "edgexfer.remote.agent.serving",
    "edgexfer.remote.agent.requests",
    "edgexfer.remote.agent.main",
)
_LOADER = """
import json, sys, types
for name, text in json.loads(SOURCES):
    module = sys.modules[name] = types.ModuleType(name)
    above, _, short = name.rpartition(".")
    if above:
        setattr(sys.modules[above], short, module)
    if not text:
        module.__path__ = []
    exec(compile(text, name, "exec"), module.__dict__)
sys.modules["edgexfer.remote.agent.main"].main(SILENCE_S)
"""


def agent_source(silence_s: float) -> bytes:
    """Returns what the bootstrap reads: a line with the length, then a program that makes the modules and runs them.

    Args:
        silence_s: after how many seconds without a byte from here the agent leaves.
    """
    sources = [[name, ""] for name in _PACKAGES] + [[name, _text(name)] for name in _MODULES]
    program = f"SOURCES = {json.dumps(sources)!r}\nSILENCE_S = {silence_s!r}\n{_LOADER}".encode()
    return b"%d\n" % len(program) + program


def _text(module: str) -> str:
    spec = importlib.util.find_spec(module)
    assert spec is not None  # noqa: S101
    assert spec.origin is not None  # noqa: S101
    return Path(spec.origin).read_text(encoding="utf-8")
