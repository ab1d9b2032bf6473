"""The wheel of the edgexfer that runs here, made from its own files: the same bytes for the same files.

From an install or from a checkout; in a checkout targets/ and calibration/ lie beside the package and go into it,
as in the wheel that is released.
"""

from __future__ import annotations

import base64
import hashlib
import importlib.metadata
import io
import re
import zipfile
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import edgexfer
from edgexfer.core.errors import MissingPartError
from edgexfer.core.toml import read_toml

_PROFILES = ("targets", "calibration")
_WHEEL = "Wheel-Version: 1.0\nGenerator: edgexfer\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
_ENTRY_POINTS = "[console_scripts]\nedgexfer = edgexfer.cli.main:main\n"


def wheel_name() -> str:
    """Returns the file name that belongs to the wheel."""
    return f"edgexfer-{edgexfer.__version__}-py3-none-any.whl"


def make_wheel() -> bytes:
    """Returns the wheel's bytes.

    Raises:
        MissingPartError: this edgexfer has neither metadata nor a pyproject.toml.
    """
    info = f"edgexfer-{edgexfer.__version__}.dist-info"
    files = {name: path.read_bytes() for name, path in _package_files()}
    files[f"{info}/METADATA"] = _metadata().encode()
    files[f"{info}/WHEEL"] = _WHEEL.encode()
    files[f"{info}/entry_points.txt"] = _ENTRY_POINTS.encode()
    record = [f"{name},sha256={_digest(data)},{len(data)}" for name, data in sorted(files.items())]
    files[f"{info}/RECORD"] = "\n".join([*record, f"{info}/RECORD,,", ""]).encode()
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in sorted(files.items()):
            entry = zipfile.ZipInfo(name)  # the year 1980, always
            entry.compress_type = zipfile.ZIP_DEFLATED
            entry.external_attr = 0o644 << 16
            archive.writestr(entry, data)
    return out.getvalue()


def requirements(extras: Iterable[str] = ()) -> list[str]:
    """Returns what edgexfer requires, as in its metadata ("numpy>=1.26", "tomli>=2.0; python_version < '3.11'").

    Args:
        extras: names of extras whose requirements are added, such as "cpu".

    Raises:
        MissingPartError: this edgexfer has neither metadata nor a pyproject.toml.
        ValueError: there is no such extra.
    """
    project = _checkout()
    if project is not None:
        optional = project["optional-dependencies"]
        return [*project["dependencies"], *(text for extra in extras for text in _known(optional, extra))]
    base, optional = [], {}
    for text in _distribution().requires or []:
        match = re.search(r"""\s*(?:;|and)\s*extra\s*==\s*['"]([^'"]+)['"]""", text)
        if match is None:
            base.append(text)
        else:
            optional.setdefault(match[1], []).append(text[: match.start()] + text[match.end() :])
    return [*base, *(text for extra in extras for text in _known(optional, extra))]


def _known(optional: dict[str, list[str]], extra: str) -> list[str]:
    if extra not in optional:
        raise ValueError(f"edgexfer has no extra {extra!r}: {', '.join(optional)}")
    return optional[extra]


def _package_files() -> list[tuple[str, Path]]:
    package = _package()
    folders = [(package, "edgexfer")]
    folders += [(package.parent / name, f"edgexfer/{name}") for name in _PROFILES if not (package / name).is_dir()]
    return [
        (f"{prefix}/{path.relative_to(folder).as_posix()}", path)
        for folder, prefix in folders
        for path in folder.rglob("*")
        if path.is_file() and "__pycache__" not in path.parts and not path.name.startswith(".")
    ]


def _metadata() -> str:
    project = _checkout()
    if project is None:
        return _distribution().read_text("METADATA") or ""
    lines = [
        "Metadata-Version: 2.4",
        f"Name: {project['name']}",
        f"Version: {edgexfer.__version__}",
        f"Summary: {project['description']}",
        f"License-Expression: {project['license']}",
        f"Requires-Python: {project['requires-python']}",
        *(f"Requires-Dist: {text}" for text in project["dependencies"]),
    ]
    for extra, wanted in project["optional-dependencies"].items():
        lines.append(f"Provides-Extra: {extra}")
        lines += [f"Requires-Dist: {text}; extra == '{extra}'" for text in wanted]
    return "\n".join(lines) + "\n"


def _checkout() -> dict[str, Any] | None:
    # First: in a checkout that is installed editably the metadata is as old as the installation.
    file = _package().parent / "pyproject.toml"
    if not file.is_file():
        return None
    project = read_toml(file).get("project", {})
    return project if project.get("name") == "edgexfer" else None


def _distribution() -> importlib.metadata.Distribution:
    try:
        return importlib.metadata.distribution("edgexfer")
    except importlib.metadata.PackageNotFoundError as error:
        raise MissingPartError(
            "this edgexfer has lost its metadata, and cannot be sent to a device",
            "pip install --force-reinstall edgexfer",
        ) from error


def _package() -> Path:
    return Path(edgexfer.__file__).parent


def _digest(data: bytes) -> str:
    return base64.urlsafe_b64encode(hashlib.sha256(data).digest()).rstrip(b"=").decode()
