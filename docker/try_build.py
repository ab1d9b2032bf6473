"""Builds an image where no image registry can be reached: its base becomes a clean Debian, all else is as written.

    sudo python3 docker/try_build.py docker/cpu.Dockerfile [--build-arg NAME=VALUE]... [--site FOLDER] [--store DIR]

Flows in: a Dockerfile and the repository around it. Flows out: an image in a store of its own, how large it is and how
long it took. It takes root, debootstrap and buildah, and this machine's own way to the package registries: its pip.conf
and certificates are lent to the stand-in, never to the Dockerfile. What a stand-in cannot show is what the real
base brings: CUDA, TensorRT, Ubuntu's Python. `--site` lends a folder to its dist-packages in place of such modules.
"""

from __future__ import annotations

import argparse
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

SUITE = "trixie"
PACKAGES = "ca-certificates,python3,python3-pip,python3-venv"
# What this machine's own way to the registries consists of; each is lent where it exists.
LENT = ("/etc/pip.conf", "/etc/ssl/certs/ca-certificates.crt")
INSTALL = "hint:  apt install debootstrap buildah"


def resolved(dockerfile: str, given: dict[str, str] | None = None) -> str:
    """Returns a Dockerfile whose FROM lines name what they mean: buildah before 1.31 knows no stage by an argument.

    Args:
        dockerfile: the text.
        given: build arguments by name; the others have the text's defaults.
    """
    values: dict[str, str] = {}

    def filled(text: str) -> str:
        return re.sub(r"\$(?:\{(\w+)\}|(\w+))", lambda name: values.get(name[1] or name[2], ""), text)

    lines = dockerfile.splitlines()
    for number, line in enumerate(lines):
        if declared := re.match(r"ARG\s+(\w+)=?(\S*)", line):
            name, default = declared.groups()
            values.setdefault(name, (given or {}).get(name, filled(default)))
        if re.match(r"FROM\s", line):
            lines[number] = filled(line)
    return "\n".join(lines) + "\n"


def bases(dockerfile: str) -> list[str]:
    """Returns the images that a resolved Dockerfile starts from, in order and each once; its own stages left out."""
    stages = {"scratch"}
    found: list[str] = []
    for image, stage in re.findall(r"^FROM\s+(?:--\S+\s+)*(\S+)(?:\s+AS\s+(\S+))?", dockerfile, re.MULTILINE):
        if image not in stages | set(found):
            found.append(image)
        stages.add(stage)
    return found


def main() -> int:
    """Builds, reports, and returns the builder's exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("dockerfile", type=Path)
    parser.add_argument("--build-arg", action="append", default=[], metavar="NAME=VALUE")
    parser.add_argument("--site", type=Path, metavar="FOLDER")
    parser.add_argument("--store", type=Path, default=Path(tempfile.gettempdir()) / "edgexfer-images", metavar="DIR")
    options = parser.parse_args()
    for program in ("debootstrap", "buildah"):
        if shutil.which(program) is None:
            sys.exit(f"error: {program} is not installed\n{INSTALL}")
    if os.geteuid() != 0:
        sys.exit("error: only root can make a root file system\nhint:  sudo python3 docker/try_build.py ...")

    root = _debian(options.store)
    buildah = ["buildah", "--root", str(options.store / "images"), "--runroot", str(options.store / "run")]
    given = dict(argument.split("=", 1) for argument in options.build_arg)
    text = resolved(options.dockerfile.read_text(encoding="utf-8"), given)
    for image in bases(text):
        _stand_in(buildah, root, image if "/" in image else f"docker.io/library/{image}", options.site)
    name = f"try-{options.dockerfile.name.partition('.')[0]}"
    # No --layers: buildah before 1.31 takes a layer of an earlier try again although what is mounted has changed.
    how = ["--isolation=chroot", "--pull-never", "--format=docker", f"--tag={name}"]
    how += [f"--build-arg={argument}" for argument in options.build_arg]
    command = [*buildah, "bud", *how, "--file=-", str(Path(__file__).parent.parent)]
    started = time.monotonic()
    done = subprocess.run(command, check=False, input=text, text=True)
    print(f"\n{options.dockerfile}: exit code {done.returncode} after {time.monotonic() - started:.0f} s")
    if done.returncode == 0:
        container = _said([*buildah, "from", "--pull-never", name])
        whole = _mebibytes(_said([*buildah, "mount", container]))
        _said([*buildah, "rm", container])
        print(f"{name}: {whole} MiB, of which {_mebibytes(root)} MiB stand in for its base")
    return done.returncode


def _debian(store: Path) -> Path:
    root = store / SUITE
    if not (root / "usr/bin/python3").exists():
        unfinished = store / f"{SUITE}.partial"
        shutil.rmtree(unfinished, ignore_errors=True)
        unfinished.parent.mkdir(parents=True, exist_ok=True)
        made = ["debootstrap", "--variant=minbase", f"--include={PACKAGES}", SUITE, str(unfinished)]
        subprocess.run(made, check=True)
        unfinished.rename(root)
    return root


def _stand_in(buildah: Sequence[str], root: Path, image: str, site: Path | None) -> None:
    there = subprocess.run([*buildah, "inspect", "--type=image", image], check=False, capture_output=True)
    if there.returncode == 0:
        return
    container = _said([*buildah, "from", "scratch"])
    mounted = Path(_said([*buildah, "mount", container]))
    subprocess.run(["cp", "--archive", f"{root}/.", f"{mounted}/"], check=True)
    for name in ("python", "pip"):
        (mounted / "usr/local/bin" / name).symlink_to(f"/usr/bin/{name}3")
    for lent in filter(os.path.isfile, LENT):
        shutil.copyfile(lent, mounted / lent.lstrip("/"))
    if site is not None:
        shutil.copytree(site, mounted / "usr/lib/python3/dist-packages", dirs_exist_ok=True)
    _said([*buildah, "umount", container])
    _said([*buildah, "commit", "--quiet", "--rm", container, image])


def _mebibytes(folder: str | Path) -> int:
    return int(_said(["du", "--summarize", "--block-size=1M", str(folder)]).split()[0])


def _said(command: Sequence[str]) -> str:
    return subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout.strip()


if __name__ == "__main__":
    sys.exit(main())
