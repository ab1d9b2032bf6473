"""Which names of TensorRT a source file uses, found without running it.

The kind of each variable is known from what it is assigned from (`builder = trt.Builder(...)`, and onwards by what
api.json says that a method returns), or, for a parameter, from its name. Every attribute of such a variable is a
use. In a function that asks `hasattr(x, "NAME")`, uses may be of versions that answer yes.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from tests.backends.tensorrt.extract import API

MODULE = "the module"
# What a parameter of type Any holds, by its name.
PARAMETERS = {
    "trt": MODULE,
    "config": "IBuilderConfig",
    "engine": "ICudaEngine",
    "network": "INetworkDefinition",
    "parser": "OnnxParser",
    "tensor": "ITensor",
}
# Parameters of type Any that hold nothing whose attributes are used, and functions that hand their argument on.
OPAQUE = {"factory", "logger", "severity", "thing", "driver", "device", "context", "held"}
HANDS_ON = {"start": True, "_made": False}  # whether it calls the argument first


@dataclass(frozen=True)
class Use:
    """One name in one function.

    Attributes:
        kind: the class or enum that has it, or MODULE.
        name: what is used.
        function: where, as "file.function".
        guarded: (kind, name) of each hasattr in that function.
    """

    kind: str
    name: str
    function: str
    guarded: frozenset[tuple[str, str]]


def uses_in(path: Path) -> list[Use]:
    """Returns every use of TensorRT in a file, of functions inside functions too."""
    return uses_of(path.read_text(encoding="utf-8"), path.stem)


def uses_of(source: str, name: str) -> list[Use]:
    """As `uses_in`, of text."""
    found: list[Use] = []
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.FunctionDef):
            found += _Function(node, name).uses()
    return found


class _Function:
    def __init__(self, node: ast.FunctionDef, file: str) -> None:
        self.node, self.place = node, f"{file}.{node.name}"
        self.kinds: dict[str, str] = {}
        for argument in (*node.args.args, *node.args.kwonlyargs):
            if isinstance(argument.annotation, ast.Name) and argument.annotation.id == "Any":
                known = argument.arg in PARAMETERS or argument.arg in OPAQUE
                assert known, f"{self.place}: what does parameter '{argument.arg}' hold?"
                if argument.arg in PARAMETERS:
                    self.kinds[argument.arg] = PARAMETERS[argument.arg]
        for child in ast.walk(node):
            if isinstance(child, ast.Import) and any(alias.name == "tensorrt" for alias in child.names):
                self.kinds["trt"] = MODULE
        self._assignments()

    def uses(self) -> list[Use]:
        guarded = frozenset(self._guards())
        attributes = [node for node in ast.walk(self.node) if isinstance(node, ast.Attribute)]
        pairs = {(self.kind_of(node.value), node.attr) for node in attributes}
        return [Use(kind, name, self.place, guarded) for kind, name in sorted(pairs, key=str) if kind is not None]

    def kind_of(self, node: ast.expr) -> str | None:
        """Which class or enum an expression is of, None where it is none of TensorRT's."""
        if isinstance(node, ast.Name):
            return self.kinds.get(node.id)
        if isinstance(node, ast.Attribute):
            owner = self.kind_of(node.value)
            if owner == MODULE:
                return node.attr
            return f"{owner}.{node.attr}" if f"{owner}.{node.attr}" in API["enums"] else None
        if isinstance(node, ast.Call):
            return self._result_of(node)
        return None

    def _result_of(self, call: ast.Call) -> str | None:
        if isinstance(call.func, ast.Name) and call.func.id in HANDS_ON:
            return self.kind_of(call.args[0])
        if not isinstance(call.func, ast.Attribute):
            return None
        owner = self.kind_of(call.func.value)
        if owner == MODULE:
            return call.func.attr
        returned = API["classes"].get(owner, {}).get(call.func.attr, {}).get("returns")
        return returned if returned in API["classes"] else None

    def _assignments(self) -> None:
        targets = [
            (node.targets[0].id, node.value)
            for node in ast.walk(self.node)
            if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name)
        ]
        for _ in range(len(targets)):  # each round may know what the one before has found
            for name, value in targets:
                kind = self.kind_of(value)
                if kind is not None:
                    self.kinds[name] = kind

    def _guards(self) -> Iterator[tuple[str, str]]:
        for node in ast.walk(self.node):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "hasattr":
                owner, name = self.kind_of(node.args[0]), node.args[1]
                assert owner is not None, f"{self.place}: hasattr of what?"
                assert isinstance(name, ast.Constant), f"{self.place}: hasattr of a computed name"
                yield owner, name.value


def versions_with(kind: str, name: str) -> set[str]:
    """Returns the versions that have a name; empty where no version has it."""
    every = set(API["versions"])
    if kind == MODULE:
        if name == "__version__":
            return every
        if name in API["enums"]:
            return set().union(*API["enums"][name].values())
        members = API["classes"].get(name, {}).values()
        return set().union(*(every if m["versions"] == "all" else m["versions"] for m in members))
    if kind in API["enums"]:
        return set(API["enums"][kind].get(name, {}))
    if kind in API["classes"] and f"{kind}.{name}" in API["enums"]:
        return every
    if name == "__init__" and kind in API["classes"]:
        return versions_with(MODULE, kind)
    entry = API["classes"].get(kind, {}).get(name)
    if entry is None:
        return set()
    return every if entry["versions"] == "all" else set(entry["versions"])


def absent_in(use: Use) -> set[str]:
    """Returns the versions in which this use would fail: they lack the name, and no hasattr keeps them away."""
    lacking = set(API["versions"]) - versions_with(use.kind, use.name)
    kept_away = (set(API["versions"]) - versions_with(*guard) for guard in use.guarded)
    return set() if any(lacking <= away for away in kept_away) and lacking != set(API["versions"]) else lacking
