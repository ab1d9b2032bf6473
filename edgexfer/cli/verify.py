"""`edgexfer verify`: what is in this bundle, who vouches for it, and for what nobody does?"""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from edgexfer.cli import show
from edgexfer.cli.options import BundleArgument, RecordOption

if TYPE_CHECKING:
    from edgexfer.trust.statement import Envelope
    from edgexfer.trust.verify import Signed
    from edgexfer.trust.vouched import Contents


def verify(
    bundle: BundleArgument,
    trust: Annotated[
        list[Path] | None,
        typer.Option(
            "--trust", metavar="FILE", help="Public keys; one of their owners must have signed it. Again for several."
        ),
    ] = None,
    json_file: RecordOption = None,
) -> None:
    """Check every file of a bundle, and say what is vouched for.

    Digests tell that nothing was changed; a signature tells who says so. With [cyan]--trust[/] an unsigned bundle, one
    that others have signed, and one that is older than what this device has opened are refused (exit code 2).
    """
    from edgexfer.core.bundle import open_bundle
    from edgexfer.trust.verify import check_signed, signatures_of
    from edgexfer.trust.vouched import contents

    show.check_place(json_file)
    signed = check_signed(bundle, trust) if trust else None
    opened = open_bundle(bundle)
    if signed is not None:
        signed.check_is(opened)
    found = contents(opened)
    envelope = _envelope(signatures_of, bundle)
    if json_file != "-":
        show.line(f"{bundle}: every file is as its manifest says (digest {opened.digest[:16]})", "bold")
        _print_files(found)
        _print_signatures(envelope, signed)
    if json_file is not None:
        show.write_record(_record(str(bundle), opened.digest, found, envelope, signed), json_file)


def _envelope(read: Any, bundle: Path) -> Envelope | str | None:
    from edgexfer.core.errors import MissingPartError

    try:
        found = read(bundle)
    except MissingPartError as error:
        return f"its signatures were not looked at: {error.message} ({error.hint})"
    return None if found is None else found[0]


def _print_files(found: Contents) -> None:
    made = show.table("file", "what it is", "bytes", "SHA-256", right=("bytes",))
    for file in found.files:
        made.add_row(show.cell(file.name), file.role, f"{file.size_bytes:,}", file.sha256[:16])
    show.unfolded(made)
    for name in found.engines:
        show.line(f"built and vouched for by this device: {show.printable(name)[:32]}")
    show.listed("engines that this device has not built, and never loads", found.foreign_engines)
    show.listed("nothing vouches for, and nothing reads", found.others)


def _print_signatures(envelope: Envelope | str | None, signed: Signed | None) -> None:
    from edgexfer.trust.public_keys import fingerprint

    if envelope is None:
        show.line("not signed: whoever made it could have written the digests too", "yellow")
        return
    if isinstance(envelope, str):
        show.line(envelope, "yellow")
        return
    show.line(f"version {envelope.statement.version} of '{envelope.statement.name}', signed by")
    trusted = {key.public: key.comment for key in signed.by} if signed is not None else {}
    for public in envelope.signatures:
        known = f"  {trusted[public]}, trusted" if public in trusted else ""
        show.line(f"  {fingerprint(public)}{known}", "green" if public in trusted else "")
    if signed is None:
        show.line("whether to believe them, --trust FILE decides", "dim")


def _record(
    place: str, digest: str, found: Contents, envelope: Envelope | str | None, signed: Signed | None
) -> dict[str, Any]:
    from edgexfer.trust.public_keys import fingerprint
    from edgexfer.trust.statement import Envelope

    record: dict[str, Any] = {"kind": "verified", "format_version": 1, "bundle": place, "digest": digest}
    record |= dataclasses.asdict(found)
    record["signed"] = None
    if isinstance(envelope, Envelope):
        trusted = set() if signed is None else {key.public for key in signed.by}
        by = [{"key": fingerprint(public), "trusted": public in trusted} for public in envelope.signatures]
        record["signed"] = {**dataclasses.asdict(envelope.statement), "by": by}
    return record
