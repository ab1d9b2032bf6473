"""What loading a bundle and predicting never does: connect, start a program, run or import what lies there."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image

from edgexfer.backends import find_backend

GUARDED = """
import sys
folder, image, backend = sys.argv[1:]
seen = []

def guard(event, args):
    if event.startswith(("socket.", "subprocess.", "os.exec", "os.system", "os.posix_spawn", "urllib.", "http.")):
        raise AssertionError(event)
    if event in ("compile", "exec", "import", "cpython.run_file", "ctypes.dlopen"):
        seen.append((event, " ".join(map(str, args))))

import os
import edgexfer
sys.addaudithook(guard)
with edgexfer.load(folder, backend=backend) as classifier:
    print(classifier(image).label)
assert not [found for found in seen if folder in found[1]], seen
assert not [name for name in sys.modules if name.startswith("planted")]
sockets = [fd for fd in os.listdir("/proc/self/fd") if os.path.exists(f"/proc/self/fd/{fd}")
           and os.readlink(f"/proc/self/fd/{fd}").startswith("socket:")]
assert not sockets, sockets
"""


@pytest.mark.parametrize("backend", ["ort", "openvino", "fake"])
def test_no_connection_no_program_and_nothing_of_the_bundle_is_run(
    backend: str, bundle_folder: Path, tmp_path: Path
) -> None:
    if missing := find_backend(backend).missing():
        pytest.skip(missing)
    for name in ("planted.py", "sitecustomize.py", "__init__.py", "conftest.py"):
        (bundle_folder / name).write_text("raise SystemExit('run')\n", encoding="utf-8")
    image = tmp_path / "red.png"
    Image.new("RGB", (30, 20), (220, 30, 30)).save(image)
    script = tmp_path / "application.py"
    script.write_text(GUARDED, encoding="utf-8")
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}
    command = [sys.executable, str(script), str(bundle_folder), str(image), backend]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=120, env=environment)
    assert (done.returncode, done.stdout, done.stderr) == (0, "a\n", "")
