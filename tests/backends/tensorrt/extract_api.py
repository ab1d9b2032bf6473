"""Makes api.json, the names of TensorRT's Python API that the tests hold the backend to: extract_api.py FULL.json.

FULL.json describes the whole API by version: `versions` -> {version: {"enums": {enum: {member: value}}, "classes":
{class: {"methods": {name: [signature]}, "properties": {name: "r" or "rw"}}}}}.
"""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path
from typing import Any

VERSIONS = ("8.6.1", "10.0.1", "10.3.0", "10.7.0", "10.13.3", "10.16.1", "11.0.0", "11.1.0", "11.4.0")
ENUMS = (
    "BuilderFlag",
    "DataType",
    "ILogger.Severity",
    "MemoryPoolType",
    "NetworkDefinitionCreationFlag",
    "TensorIOMode",
)
CLASSES = (
    "Builder", "Dims", "IBuilderConfig", "ICudaEngine", "IExecutionContext", "IHostMemory", "ILogger",
    "INetworkDefinition", "IOptimizationProfile", "IProgressMonitor", "ITensor", "ITimingCache", "OnnxParser",
    "ParserError", "Runtime",
)  # fmt: skip
ABOUT = (
    "Names of TensorRT's Python API by version: facts taken from NVIDIA's sources under the Apache licence 2.0 "
    "(github.com/NVIDIA/TensorRT, python/src and python/docstrings, tags v8.6.1, v10.0.1, v10.3.0, v10.7.0, v10.13.3, "
    "v10.16, v11.0, v11.1). There is no tag for 11.4.0: its names are those that its Python module lists. No code is "
    "in here. A member is listed with the versions that have it. Made by extract_api.py."
)


def extract(full: dict[str, Any]) -> dict[str, Any]:
    versions = full["versions"]
    enums: dict[str, dict[str, Any]] = {name: {} for name in ENUMS}
    classes: dict[str, dict[str, Any]] = {name: {} for name in CLASSES}
    for version in VERSIONS:
        for name, members in enums.items():
            # The sources alone say no numbers: they are counted, since nobody may rely on them.
            found = versions[version]["enums"].get(name, versions[version]["enums"].get("Logger.Severity"))
            for index, (member, value) in enumerate((found or _neighbour(versions, version, "enums", name)).items()):
                members.setdefault(member, {})[version] = index if value is None else value
        for name, members in classes.items():
            content = versions[version]["classes"].get(name)
            if content is None and name == "ILogger":  # the interface, which the sources declare elsewhere
                content = _neighbour(versions, version, "classes", name)
            if content is None:
                continue
            for member, signatures in content["methods"].items():
                if member.startswith("__"):
                    continue
                _add(members, member, "method", version, _returned(signatures))
            for member, access in content["properties"].items():
                _add(members, member, "rw" if access == "rw" else "r", version, None)
    network = classes["INetworkDefinition"]
    classes["INetworkDefinition"] = {name: entry for name, entry in network.items() if not name.startswith("add_")}
    for entry in (entry for members in classes.values() for entry in members.values()):
        if entry["versions"] == list(VERSIONS):
            entry["versions"] = "all"
    return {"about": ABOUT, "versions": list(VERSIONS), "enums": enums, "classes": classes}


def _neighbour(versions: dict[str, Any], version: str, part: str, name: str) -> Any:
    major = version.partition(".")[0]
    return next(versions[v][part][name] for v in VERSIONS if v.startswith(f"{major}.") and name in versions[v][part])


def _add(members: dict[str, Any], member: str, kind: str, version: str, returns: str | None) -> None:
    entry = members.setdefault(member, {"kind": kind, "versions": []})
    entry["versions"].append(version)
    if returns is not None:
        entry["returns"] = returns


def _returned(signatures: list[str]) -> str | None:
    found = re.search(r"-> (?:nvinfer1::|nvonnxparser::)?(\w+)$", signatures[0]) if signatures else None
    return {"IParserError": "ParserError"}.get(found[1], found[1]) if found else None


if __name__ == "__main__":
    slim = extract(json.loads(Path(sys.argv[1]).read_text(encoding="utf-8")))
    text = re.sub(
        r"\[\s+([^\[\]{}]*?)\s+\]", lambda m: "[" + re.sub(r"\s+", " ", m[1]) + "]", json.dumps(slim, indent=1)
    )
    text = re.sub(r"\{\s+([^\[\]{}]*?)\s+\}", lambda m: "{" + re.sub(r"\s+", " ", m[1]) + "}", text)
    Path(__file__).with_name("api.json").write_text(text + "\n", encoding="utf-8")
