"""`edgexfer keygen`: a key that bundles are signed with."""

from __future__ import annotations

from enum import Enum
from pathlib import Path
from typing import Annotated

import typer

from edgexfer.cli import show


class KeyForm(str, Enum):
    """How the private key is written."""

    openssh = "openssh"
    pem = "pem"


def keygen(
    file: Annotated[
        Path, typer.Argument(metavar="FILE", help="Where the private key goes; the public one to FILE.pub.")
    ],
    form: Annotated[KeyForm, typer.Option("--format", help="Of the private key.")] = KeyForm.openssh,
    encrypt: Annotated[bool, typer.Option("--encrypt", help="Ask for a passphrase that it is encrypted with.")] = False,
) -> None:
    """Make a key that bundles are signed with.

    FILE stays with you: only its owner can read it. FILE.pub goes to the devices, for [cyan]verify --trust[/] and
    [cyan]load(..., trust=...)[/]. Ed25519 keys of ssh-keygen serve as well.
    """
    from edgexfer.trust.private_keys import make_key
    from edgexfer.trust.public_keys import fingerprint, read_trust

    passphrase = typer.prompt("passphrase", hide_input=True, confirmation_prompt=True, err=True) if encrypt else None
    public = make_key(file, form=form.value, passphrase=passphrase)
    show.line(f"{file}: the private key, for you alone")
    show.line(f"{public}: the public key, for the devices")
    show.line(fingerprint(read_trust(public)[0].public), "dim")
