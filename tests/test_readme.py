"""The documents keep their word: commands and flags exist, links lead somewhere, Python compiles and imports."""

from __future__ import annotations

import ast
import re
import shlex
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

import edgexfer
from edgexfer.core.target import target_names

ROOT = Path(__file__).parent.parent
DOCUMENTS = ["README.md", "CONTRIBUTING.md", "CHANGELOG.md", *(f"docs/{p.name}" for p in (ROOT / "docs").glob("*.md"))]

pytestmark = pytest.mark.skipif(not (ROOT / "README.md").is_file(), reason="not run from a checkout")


def text(document: str) -> str:
    return (ROOT / document).read_text(encoding="utf-8")


def blocks(document: str, language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", text(document), re.MULTILINE | re.DOTALL)


def commands(document: str) -> list[list[str]]:
    """Every `edgexfer ...` of a document: a line of a shell block, or words between backticks."""
    lines = [line for block in blocks(document, "sh") for line in block.replace("\\\n", " ").splitlines()]
    inline = re.findall(
        r"`(edgexfer [^`]+)`", re.sub(r"^```.*?^```", "", text(document), flags=re.MULTILINE | re.DOTALL)
    )
    words = [shlex.split(line, comments=True) for line in [*lines, *inline]]
    return [found for found in words if found[:1] == ["edgexfer"]]


@pytest.fixture(scope="module")
def command_line() -> Any:
    typer = pytest.importorskip("typer")
    from edgexfer.cli.main import app

    return typer.main.get_command(app)


def test_the_readme_shows_the_way_from_images_to_a_device() -> None:
    assert {words[1] for words in commands("README.md")} >= {"finetune", "export", "predict", "evaluate", "bench"}
    assert "make demo" in text("README.md")
    assert "make test" in text("README.md")


@pytest.mark.parametrize("document", DOCUMENTS)
def test_every_command_and_flag_exists(command_line: Any, document: str) -> None:
    for words in commands(document):
        command, rest = command_line, words[1:]
        while rest and hasattr(command, "commands") and not rest[0].startswith("-"):
            assert rest[0] in command.commands, f"{document}: `{' '.join(words)}`: no verb '{rest[0]}'"
            command, rest = command.commands[rest[0]], rest[1:]
        known = {flag for parameter in command.params for flag in (*parameter.opts, *parameter.secondary_opts)}
        for flag in (word.partition("=")[0] for word in rest if word.startswith("--")):
            assert flag in known | {"--help"}, (
                f"{document}: `{' '.join(words)}`: no flag {flag}, known: {sorted(known)}"
            )


@pytest.mark.parametrize("document", DOCUMENTS)
def test_every_target_that_is_named_exists(document: str) -> None:
    pairs = (pair for words in commands(document) for pair in pairwise(words))
    named = [word for flag, word in pairs if flag == "--target"]
    assert {name for name in named if name.islower()} <= set(target_names())


@pytest.mark.parametrize("document", DOCUMENTS)
def test_links_into_the_repository_lead_somewhere(document: str) -> None:
    for link in re.findall(r"\]\(([^)\s]+)\)", text(document)):
        if re.match(r"[a-z]+:", link):
            continue
        place = (ROOT / document).parent / link.partition("#")[0]
        assert place.exists(), f"{document}: {link} does not exist"


@pytest.mark.parametrize("document", DOCUMENTS)
def test_files_that_are_named_exist(document: str) -> None:
    for name in re.findall(r"`((?:edgexfer|benchmarks|docs|targets|tests|calibration)/[\w./-]*)`", text(document)):
        assert (ROOT / name).exists(), f"{document}: {name} does not exist"


@pytest.mark.parametrize("document", DOCUMENTS)
def test_python_compiles_and_its_names_exist(document: str) -> None:
    for block in blocks(document, "python"):
        for node in ast.walk(ast.parse(block)):
            if isinstance(node, ast.ImportFrom) and node.module == "edgexfer":
                for name in node.names:
                    assert name.name in edgexfer.__all__
                    assert hasattr(edgexfer, name.name)


def test_every_target_stands_in_the_readme() -> None:
    rows = "\n".join(line.split("|")[1] for line in text("README.md").splitlines() if line.startswith("| `"))
    assert [name for name in target_names() if f"`{name}`" not in rows] == []


def test_every_make_target_that_is_named_exists() -> None:
    known = set(re.findall(r"^([a-z]+):", text("Makefile"), re.MULTILINE))
    for document in DOCUMENTS:
        named = re.findall(r"`make ([a-z]+)`", text(document))
        named += re.findall(r"^make ([a-z]+)", "\n".join(blocks(document, "sh")), re.MULTILINE)
        assert set(named) <= known, document


def test_every_dependency_has_its_row() -> None:
    listed = text("docs/dependencies.md")
    declared = re.findall(r'^  "([a-z0-9-]+)>=', text("pyproject.toml"), re.MULTILINE)
    assert len(declared) > 20
    assert [name for name in declared if not re.search(rf"\| [^|]*\b{re.escape(name)}\b[^|]* \|", listed)] == []


@pytest.mark.parametrize("name", ["device", "device-openvino", "train"])
def test_pins_with_hashes_are_those_of_the_constraints(name: str) -> None:
    pinned = re.findall(
        r"^([\w.-]+)==(\S+)(?: ; [^\\\n]+)? \\\n((?:    --hash=sha256:[0-9a-f]{64}(?: \\)?\n)+)",
        text(f"pins/{name}.txt"),
        re.MULTILINE,
    )
    lines = re.findall(r"^[\w.-]+==", text(f"pins/{name}.txt"), re.MULTILINE)
    assert len(pinned) == len(lines) > 20
    wanted = set(re.findall(r"^([\w.-]+)==([^;\s]+)", text("constraints.txt"), re.MULTILINE))
    known = {package for package, _ in wanted}
    assert {(package, version) for package, version, _ in pinned if package in known} <= wanted


def test_every_dependency_is_pinned() -> None:
    pinned = set(re.findall(r"^([a-z0-9-]+)==", text("constraints.txt"), re.MULTILINE))
    declared = set(re.findall(r'"([a-z0-9-]+)>=[^"]*"', text("pyproject.toml").split("[project.scripts]")[0]))
    assert declared <= pinned
