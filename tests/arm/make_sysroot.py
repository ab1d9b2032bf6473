"""Makes what emulated CPUs need: `make arm-sysroot`, or `python -m tests.arm.make_sysroot` from the repository's root.

Out, in `$EDGEXFER_SYSROOT` or `.cache/arm`:
    qemu/       qemu-aarch64-static and qemu-x86_64-static, from Debian's package qemu-user-static
    debian/     Debian's Python for 64-bit Arm and libstdc++, with all that they depend on, unpacked
    wheels/     edgexfer's base install, ONNX Runtime and what the tests need, for that Python and pinned
    made.json   written last: what decided what is in there

Nothing is installed on the machine and nobody need be root: apt works on lists of its own, below that folder.
"""

from __future__ import annotations

import hashlib
import json
import os
import platform
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

from edgexfer.core.errors import EdgexferError, MissingPartError
from edgexfer.core.toml import read_toml

ROOT = Path(__file__).parents[2]
PLACE = "EDGEXFER_SYSROOT"
COMMAND = "make arm-sysroot"
EMULATORS = ("qemu-aarch64-static", "qemu-x86_64-static")
_TOOLS = {"apt-get": "apt", "dpkg-deb": "dpkg"}
_SOURCES = (Path("/etc/apt/sources.list.d/debian.sources"), Path("/etc/apt/sources.list"))
_DEBIAN = ("python3", "libstdc++6")
_TESTS_NEED = ("onnx", "pytest", "pytest-timeout", "hypothesis")
# pip takes each tag literally: a wheel for an older glibc has an older tag.
_PLATFORMS = [f"manylinux_2_{glibc}_aarch64" for glibc in range(34, 16, -1)] + ["manylinux2014_aarch64"]


def place() -> Path:
    """Returns the folder where the parts lie or shall lie."""
    return Path(os.environ.get(PLACE) or ROOT / ".cache" / "arm").absolute()


def lacking(folder: Path) -> str | None:
    """Returns why nothing can be emulated with what lies in `folder`, with the command that mends it, or None."""
    try:
        made = json.loads((folder / "made.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return f"no emulator and no packages for Arm in {folder} ({COMMAND})"
    return None if made == _decided_by() else f"{folder} was made for other pins ({COMMAND})"


def make(folder: Path) -> None:
    """Makes the parts in `folder`, whole or not at all; returns at once where they are there already.

    Raises:
        MissingPartError: a tool of Debian's is not on this machine, or its sources name no packages.
        EdgexferError: one of the tools failed.
    """
    if lacking(folder) is None:
        print(f"{folder} is made already")
        return
    sources = _sources()
    staged = folder.with_name(folder.name + ".making")
    shutil.rmtree(staged, ignore_errors=True)
    apt = _apt(staged / "apt", sources)
    _run([*apt, "update"])
    _run([*apt, "install", "--yes", "--download-only", *_DEBIAN])
    for package in sorted((staged / "apt/cache/archives").glob("*.deb")):
        _run(["dpkg-deb", "--extract", str(package), str(staged / "debian")])
    _fetch_emulators(apt, staged)
    _install_wheels(staged)
    shutil.rmtree(staged / "apt")
    (staged / "made.json").write_text(json.dumps(_decided_by(), indent=1), encoding="utf-8")
    shutil.rmtree(folder, ignore_errors=True)
    staged.rename(folder)
    print(f"made {folder}")


def _decided_by() -> dict[str, Any]:
    pins = hashlib.sha256((ROOT / "constraints.txt").read_bytes()).hexdigest()
    return {"debian": list(_DEBIAN), "wheels": _wanted(), "constraints.txt": pins}


def _wanted() -> list[str]:
    project = read_toml(ROOT / "pyproject.toml")["project"]
    return [*project["dependencies"], *project["optional-dependencies"]["cpu"], *_TESTS_NEED]


def _sources() -> Path:
    if platform.machine() != "x86_64":
        raise MissingPartError(f"this machine is {platform.machine()}, expected x86_64", "run this on a PC with Debian")
    for tool, package in _TOOLS.items():
        if shutil.which(tool) is None:
            raise MissingPartError(
                f"{tool} is not on this machine, expected Debian", f"run this on Debian, with its package {package}"
            )
    for path in _SOURCES:
        if path.is_file():
            return path
    raise MissingPartError(f"none of {', '.join(map(str, _SOURCES))} is there", "run this on Debian, or in its image")


def _apt(state: Path, sources: Path) -> list[str]:
    # The machine's own lists stay as they are; only Debian's sources are asked, since others may have nothing for Arm.
    (state / "lists/partial").mkdir(parents=True)
    (state / "cache/archives/partial").mkdir(parents=True)
    (state / "status").touch()  # nothing is installed, so all that Python depends on is fetched
    settings = {
        "APT::Architecture": "arm64",
        "APT::Architectures::": "amd64",
        "APT::Install-Recommends": "false",
        "APT::Sandbox::User": "",
        "Debug::NoLocking": "true",
        "Dir::State": state,
        "Dir::State::status": state / "status",
        "Dir::Cache": state / "cache",
        "Dir::Etc::sourcelist": sources,
        "Dir::Etc::sourceparts": "/dev/null",
    }
    return ["apt-get", "-qq", *(word for key, value in settings.items() for word in ("-o", f"{key}={value}"))]


def _fetch_emulators(apt: list[str], staged: Path) -> None:
    there, unpacked = staged / "apt/qemu", staged / "apt/unpacked"
    there.mkdir()
    _run([*apt, "download", "qemu-user-static:amd64"], folder=there)
    for package in there.glob("*.deb"):
        _run(["dpkg-deb", "--extract", str(package), str(unpacked)])
    (staged / "qemu").mkdir()
    for name in EMULATORS:
        try:
            shutil.move(unpacked / "usr/bin" / name, staged / "qemu" / name)
        except FileNotFoundError as error:
            raise MissingPartError(f"Debian's qemu-user-static has no {name}", "run this on Debian 12") from error


def _install_wheels(staged: Path) -> None:
    version = (staged / "debian/usr/bin/python3").readlink().name.removeprefix("python")
    platforms = [word for tag in _PLATFORMS for word in ("--platform", tag)]
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--target", str(staged / "wheels")]
    pip += ["--only-binary=:all:", "--implementation", "cp", "--python-version", version, *platforms]
    _run([*pip, "--constraint", str(ROOT / "constraints.txt"), *_wanted()])


def _run(command: list[str], folder: Path | None = None) -> None:
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    if done.returncode:
        said = " ".join((done.stderr or done.stdout).split())[-600:]
        shown = " ".join(word for word in command if "=" not in word and word != "-o")
        raise EdgexferError(f"`{shown}` ended with {done.returncode}: {said}", f"mend that, then: {COMMAND}")


def main() -> int:
    """Makes them; returns 0, or 2 after an error and its hint on stderr."""
    try:
        make(place())
    except EdgexferError as error:
        print(f"error: {error.message}\nhint:  {error.hint}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
