"""`edgexfer lint`: do the bundle's graphs follow their target's INT8 dialect?"""

from __future__ import annotations

from typing import Annotated

import typer

from edgexfer.cli import show
from edgexfer.cli.options import BundleArgument
from edgexfer.cli.parts import needs
from edgexfer.train.sparse.asked import TWO_FOUR


def lint(
    bundle: BundleArgument,
    tensorrt: Annotated[
        list[str] | None,
        typer.Option(
            "--tensorrt",
            metavar="VERSION",
            help="Hold it to this release, such as [cyan]10.3[/], instead of the target's; give it again for several.",
        ),
    ] = None,
) -> None:
    """Prove that the network is in its target's INT8 dialect.

    Every candidate is looked at, and so are the zeros of --sparsity. Each finding names the node, the rule and the
    remedy; the exit code is then 1.
    """
    from edgexfer.core.bundle import open_bundle

    opened = open_bundle(bundle)
    with needs("train"):
        from edgexfer.train.dialects.lint import lint as findings_in

        findings = findings_in(bundle, engine_versions=tensorrt)
        record = opened.manifest.get("sparsity") or {}
        fitting = ""
        if record.get("asked") == TWO_FOUR:
            from edgexfer.gate.report.sparsity import fitting_words
            from edgexfer.train.dialects.lint_sparsity import eligible_macs

            fitting = fitting_words(eligible_macs(opened.read()))
    forms = ", ".join(opened.candidates)
    subject = f"{opened.folder} ({forms}, dialect '{opened.target.dialect}' of {opened.target.name})"
    for finding in findings:
        show.line(f"{finding.rule}: {finding.node} in {finding.file}", "bold")
        show.line(f"  {finding.message}")
        show.line(f"  remedy: {finding.remedy}")
    if fitting:
        show.line(fitting)
    if findings:
        show.line(f"{show.count(len(findings), 'finding')} in {subject}", "bold red")
        raise typer.Exit(1)
    show.line(f"ok: {subject} has no findings", "green")
