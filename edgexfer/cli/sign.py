"""`edgexfer sign`: say that this bundle is yours, and which version of it."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from edgexfer.cli import show


def sign(
    bundle: Annotated[Path, typer.Argument(metavar="BUNDLE", help="Folder of the bundle (NAME.edgx).")],
    key: Annotated[
        Path, typer.Option("--key", metavar="FILE", help="Private Ed25519 key, of [cyan]keygen[/] or ssh-keygen.")
    ],
    name: Annotated[
        str | None, typer.Option("--name", metavar="NAME", help="Under which versions are counted; by default its own.")
    ] = None,
    version: Annotated[
        int | None,
        typer.Option("--version", metavar="N", help="Devices go back to no lower one; by default the time in seconds."),
    ] = None,
) -> None:
    """Sign a bundle: its manifest, and by that every file in it.

    Several may sign: a signature of the same version is added to those that are there. Sign last, since whatever
    changes the bundle ends its signatures; engines that devices build do not.
    """
    from edgexfer.trust.private_keys import read_key
    from edgexfer.trust.public_keys import fingerprint
    from edgexfer.trust.sign import sign_bundle

    private = read_key(key, lambda: str(typer.prompt(f"passphrase of {key}", hide_input=True, err=True)))
    envelope = sign_bundle(bundle, private, name=name, version=version)
    show.line(f"{bundle} is version {envelope.statement.version} of '{envelope.statement.name}', signed by", "bold")
    for public in envelope.signatures:
        show.line(f"  {fingerprint(public)}")
