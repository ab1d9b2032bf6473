"""Report: a checkpoint or a bundle in, one self-contained HTML page out (no script, nothing from the network).

Everything on the page comes from the artifact's own files, which are checked against its manifest first, from what a
gate decided, and from the images themselves where they are at hand. What is in them (labels, file names, notes) is
foreign text: the templates escape all of it.
"""

from __future__ import annotations

import json
from pathlib import Path

from edgexfer.core.errors import ArtifactError, EdgexferError, MissingPartError, SettingsError
from edgexfer.core.files import write_file
from edgexfer.core.manifest import MANIFEST
from edgexfer.core.packed import is_packed
from edgexfer.gate.judge.verdict import GateResult
from edgexfer.gate.report.bundle_page import bundle_page
from edgexfer.gate.report.checkpoint_page import checkpoint_page
from edgexfer.gate.report.content import Page
from edgexfer.gate.report.summary import percent, size
from edgexfer.gate.report.svg import printable

TEMPLATES = Path(__file__).with_name("templates")


def report(
    folder: str | Path, out: str | Path, *, data: str | Path | None = None, gate: GateResult | None = None
) -> Path:
    """Writes the report on a checkpoint or a bundle and returns where it lies.

    Args:
        folder: the artifact; a bundle may be packed.
        out: the HTML file; one that is there already is replaced.
        data: of a bundle: where its images are, to show those that matter; None for where they were when the bundle
            was measured, and without pictures where nothing is there.
        gate: of a bundle: the verdicts on it.

    Raises:
        ArtifactError: `folder` is neither, or is damaged, or `gate` is about another one.
        DataError: `data` does not exist.
        SettingsError: `data` or `gate` with a checkpoint.
        MissingPartError: Jinja2 or matplotlib is not installed.
        EdgexferError: `out` is a folder or cannot be written.
    """
    source, page = Path(folder), Path(out)
    if page.is_dir():
        raise EdgexferError(f"{page} is a folder, expected a file", "name an HTML file with --out")
    packed = is_packed(source)
    if not packed and not (source / MANIFEST).is_file():
        why = f"has no {MANIFEST}" if source.exists() else "does not exist"
        raise ArtifactError(f"{source} is neither a checkpoint nor a bundle: it {why}", "give a run or a NAME.edgx")
    if packed or _kind(source) == "bundle":
        content = bundle_page(source, data, gate)
    elif data is None and gate is None:
        content = checkpoint_page(source)
    else:
        raise SettingsError(
            f"{source} is no bundle: it has neither images nor verdicts of its own", "report on the bundle made from it"
        )
    write_file(page, render(content))
    return page


def render(page: Page) -> str:
    """Returns the page as HTML.

    Raises:
        MissingPartError: Jinja2 is not installed.
    """
    try:
        import jinja2
    except ModuleNotFoundError as error:
        raise MissingPartError(
            "the report needs Jinja2, which is not installed", "pip install 'edgexfer[report]'"
        ) from error
    environment = jinja2.Environment(
        autoescape=True,
        loader=jinja2.FileSystemLoader(TEMPLATES),
        lstrip_blocks=True,
        trim_blocks=True,
        undefined=jinja2.StrictUndefined,
    )
    environment.filters |= {"percent": percent, "size": size}
    return printable(environment.get_template("page.html.j2").render(page=page))


def _kind(folder: Path) -> str | None:
    try:
        manifest = json.loads((folder / MANIFEST).read_bytes())
    except (OSError, ValueError, RecursionError):
        return None
    return manifest.get("kind") if isinstance(manifest, dict) else None
