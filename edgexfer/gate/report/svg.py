"""SVG: what matplotlib wrote becomes an element for the middle of a page: no style or id that others would feel.

Colours are exchanged for the page's own, fonts are left to it, ids get the drawing's name before them.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from xml.etree import ElementTree as ET

# What XML 1.0 has no character for.
_UNPRINTABLE = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


def printable(text: str) -> str:
    """Returns `text` with a sign in the place of what no page can hold: control characters, lone surrogates."""
    return _UNPRINTABLE.sub("\ufffd", text)


def inline_svg(data: bytes, name: str, title: str, description: str, colours: Mapping[str, str]) -> str:
    """Returns the element `<svg>` for the page, named by a title and a description of its own.

    Args:
        data: a file that matplotlib wrote, its text as text.
        name: the drawing's id; no other one's on the page.
        title: in words.
        description: what is to be seen.
        colours: {colour in the file: what stands for it}; text without a colour takes that of "" there.
    """
    root = ET.fromstring(data)  # noqa: S314 - matplotlib wrote it a moment before
    for above in list(root.iter()):
        above.tag = above.tag.partition("}")[2]
        for child in list(above):
            # Its style sheet would hold for the whole page; its metadata name the version of matplotlib.
            if child.tag.endswith(("}style", "}metadata")):
                above.remove(child)
    used = {identity.decode() for identity in re.findall(rb"(?:href=\"#|url\(#)([\w-]+)", data)}
    for element in root.iter():
        _clean(element, name, used, colours)
    for size in ("width", "height", "version"):
        root.attrib.pop(size, None)
    root.attrib |= {
        "role": "img",
        "aria-labelledby": f"{name}-title {name}-text",
        "class": "plot",
        "focusable": "false",
    }
    for place, (tag, suffix, text) in enumerate((("title", "title", title), ("desc", "text", description))):
        root.insert(place, ET.Element(tag, {"id": f"{name}-{suffix}"}))
        root[place].text = printable(text)
    return ET.tostring(root, encoding="unicode")


def _clean(element: ET.Element, name: str, used: set[str], colours: Mapping[str, str]) -> None:
    # Ids that nothing points to go; the rest become this drawing's own.
    identity = element.attrib.pop("id", None)
    if identity in used:
        element.set("id", f"{name}-{identity}")
    for key, value in list(element.attrib.items()):
        if key.endswith("}href"):
            del element.attrib[key]
            element.set("href", f"#{name}-{value[1:]}")
        elif key == "clip-path":
            element.set(key, f"url(#{name}-{value[5:-1]})")
        elif key == "style":
            _restyle(element, value, name, colours)
        elif key == "d":
            element.set(key, " ".join(_rounded(value).split()))
        elif key == "transform" and value.startswith("rotate(-0 "):
            del element.attrib[key]
        elif key in ("x", "y", "width", "height", "points", "transform"):
            element.set(key, _rounded(value))
        elif key in ("fill", "stroke"):
            element.set(key, colours.get(value, value))
    if element.text is not None and element.tag not in ("text", "tspan"):
        element.text = None
    element.tail = None


def _restyle(element: ET.Element, style: str, name: str, colours: Mapping[str, str]) -> None:
    kept = [text.replace("url(#", f"url(#{name}-") for text in _declarations(element.tag, style, colours)]
    del element.attrib["style"]
    if kept:
        element.set("style", ";".join(kept))


def _declarations(tag: str, style: str, colours: Mapping[str, str]) -> Iterator[str]:
    for declaration in style.split(";"):
        key, _, value = (part.strip() for part in declaration.partition(":"))
        size = re.search(r"([\d.]+)px", value) if key in ("font", "font-size") else None
        if size is not None:
            yield f"font-size:{size[1]}px"
        elif not key.startswith("font") and key:
            yield f"{key}:{colours.get(value, value)}"
    if tag == "text" and "fill" not in style:
        yield f"fill:{colours['']}"


def _rounded(text: str) -> str:
    return re.sub(r"-?\d+\.\d{3,}", lambda found: f"{float(found[0]):.2f}".rstrip("0").rstrip("."), text)
