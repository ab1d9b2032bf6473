"""Provenance: where an artifact comes from, link by link, down to the digest of its data set."""

from __future__ import annotations

import csv
import io
import json
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from edgexfer.core.files import sha256_of_bytes
from edgexfer.core.manifest import read_if_listed

MOST_ITEMS = 8
# NNCF's own configuration has hundreds of lines for its loader alone; pruning and sparsity have sections of their own.
_TOO_LONG = ("nncf", "pruning", "sparsity")
_APART = ("digest", "files", "format_version", "kind", "labels", "metrics", "float_metrics", "name")


@dataclass(frozen=True)
class Link:
    """One step from the images to the artifact.

    Attributes:
        what: in words.
        digest: SHA-256 that names it; "" where none was recorded.
        facts: (name, value) in words.
    """

    what: str
    digest: str
    facts: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True)
class Provenance:
    """All that is known.

    Attributes:
        chain: from the data set to the artifact.
        tables: {title: ((name, value), ...)}: settings, versions, the target and the rest.
        files: (name, bytes, SHA-256) of every file in the artifact.
    """

    chain: tuple[Link, ...]
    tables: dict[str, tuple[tuple[str, str], ...]]
    files: tuple[tuple[str, int, str], ...]


def provenance(folder: Path, manifest: dict[str, Any]) -> Provenance:
    """Reads the chain from a manifest that was checked, and from `split.csv` beside it."""
    recorded = manifest.get("provenance")
    made = recorded if isinstance(recorded, dict) and recorded else manifest
    known = {"settings": made.get("settings"), "versions": made.get("versions"), "target": manifest.get("target")}
    known["preprocessing"] = manifest.get("preprocess")
    rest = {k: v for k, v in manifest.items() if k not in (*_APART, "provenance", "preprocess", "target")}
    inner = made if made is not manifest else {}
    more = {k: v for k, v in {**rest, **inner}.items() if k not in known}
    tables = {title.capitalize(): tuple(_flat(value)) for title, value in known.items() if value}
    tables |= {"More": tuple(_flat(more))} if more else {}
    tables |= {"Licences": licences} if (licences := _licences(folder, manifest)) else {}
    files = tuple((name, int(e.get("size_bytes", 0)), str(e["sha256"])) for name, e in manifest["files"].items())
    return Provenance(tuple(_chain(folder, manifest, made)), tables, files)


def split_digest(raw: bytes | None) -> tuple[str, Counter[str]]:
    """Returns the digest of the data set that `split.csv` lists, by its content, and how many images each split has.

    The digest is the SHA-256 of a JSON list of [sha256, label, split], sorted, UTF-8, without spaces: it names content,
    class and split of all images, whatever their paths.
    """
    if raw is None:
        return "", Counter()
    text = raw.decode("utf-8", "surrogateescape")
    try:
        rows = [[r["sha256"], r["label"], r["split"]] for r in csv.DictReader(io.StringIO(text, newline=""))]
        content = json.dumps(sorted(rows), separators=(",", ":"), ensure_ascii=False).encode("utf-8", "surrogateescape")
    except (KeyError, TypeError, csv.Error):
        return "", Counter()
    return (sha256_of_bytes(content) if rows else ""), Counter(str(row[2]) for row in rows)


def _licences(folder: Path, manifest: dict[str, Any]) -> tuple[tuple[str, str], ...]:
    """Returns (part, licences) of what a device runs, from `sbom.json`; nothing where none can be read."""
    rows = []
    try:
        for part in json.loads(read_if_listed(folder, manifest, "sbom.json") or b"")["components"]:
            told = [
                row.get("expression") or row["license"].get("id") or row["license"]["name"] for row in part["licenses"]
            ]
            if part["scope"] == "required":
                rows.append((f"{part['name']} {part.get('version', '')}".strip(), ", ".join(told)))
    except (ValueError, RecursionError, KeyError, TypeError, AttributeError):
        return ()
    return tuple(rows)


def _chain(folder: Path, manifest: dict[str, Any], made: dict[str, Any]) -> list[Link]:
    recorded = str(made.get("dataset_digest") or "")
    digest, splits = split_digest(read_if_listed(folder, manifest, "split.csv"))
    agrees = [("checked", "split.csv gives this digest")] if digest and digest == recorded else []
    differs = [("differs", f"split.csv gives {digest}")] if digest and recorded and digest != recorded else []
    counts = [("images", ", ".join(f"{splits[name]} {name}" for name in ("train", "val", "test") if splits[name]))]
    where = [("was in", str(made["data"]))] if made.get("data") else []
    links = [Link("Data set", recorded or digest, (*(counts if splits else []), *where, *agrees, *differs))]
    bundle, parent = manifest.get("kind") == "bundle", str(manifest.get("parent") or "")
    settings = made["settings"] if isinstance(made.get("settings"), dict) else {}
    trained = tuple(
        (key, str(value))
        for key, value in (
            ("backbone", made.get("backbone")),
            ("weights", made.get("pretrained")),
            ("strategy", settings.get("strategy")),
            ("seed", settings.get("seed", made.get("seed"))),
        )
        if value is not None
    )
    first = str(made.get("float_checkpoint") or "")
    kind, pruning = "Fine-tuned checkpoint", made.get("pruning")
    if isinstance(pruning, dict) and str(pruning.get("parent")) != parent:
        links.append(Link(kind, str(pruning.get("parent")), trained))
        kind, trained = "Pruned checkpoint", (("pruned to", str(pruning.get("goal"))),)
    sparse = manifest.get("sparsity")
    if isinstance(sparse, dict) and str(sparse.get("parent")) != parent:
        links.append(Link(kind, str(sparse.get("parent")), trained))
        kind, trained = "Sparse checkpoint", (("sparsity", str(sparse.get("asked"))),)
    if bundle and first and first != parent:
        links.append(Link(kind, first, trained))
        links.append(Link("Quantized checkpoint", parent, _calibration(made)))
    elif bundle:
        links.append(Link("Checkpoint", parent, (*trained, *_calibration(made))))
    elif parent:
        links.append(Link(kind, parent, trained))
    own = (("precision", str(manifest["precision"])),) if manifest.get("precision") else ()
    this = "This bundle" if bundle else "This checkpoint"
    return [*links, Link(this, str(manifest["digest"]), own if parent else (*own, *trained))]


def _calibration(made: dict[str, Any]) -> tuple[tuple[str, str], ...]:
    found = made.get("calibration")
    if not isinstance(found, dict) or not isinstance(found.get("images"), list):
        return ()
    recipe = found.get("recipe")
    name = recipe.get("name", "") if isinstance(recipe, dict) else ""
    return (("calibrated with", f"{len(found['images'])} training images {f'({name})' if name else ''}".strip()),)


def _flat(value: Any, name: str = "") -> list[tuple[str, str]]:
    if isinstance(value, dict):
        named = ((f"{name}.{key}" if name else str(key), item) for key, item in value.items() if key not in _TOO_LONG)
        return [pair for key, item in named for pair in _flat(item, key)]
    if isinstance(value, list):
        shown = [str(item) for item in value[:MOST_ITEMS] if not isinstance(item, (dict, list))]
        more = [f"{len(value) - len(shown)} more"] if len(value) > len(shown) else []
        return [(name, ", ".join(shown + more))] if value else []
    return [] if value is None or value == "" else [(name, f"{value:.6g}" if isinstance(value, float) else str(value))]
