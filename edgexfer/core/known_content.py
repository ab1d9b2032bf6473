"""What a file holds, by its first bytes alone: one of the formats that are read, or what it is instead, for people."""

from __future__ import annotations

import re

FORMATS = ("JPEG", "PNG", "WEBP", "BMP", "TIFF", "GIF", "PPM")
"""The allow list. MPO (several JPEGs in one file) is a JPEG here."""
_OURS = {
    "JPEG": re.compile(rb"\xff\xd8\xff"),
    "PNG": re.compile(rb"\x89PNG\r\n\x1a\n"),
    "WEBP": re.compile(rb"RIFF.{4}WEBP", re.DOTALL),
    "BMP": re.compile(rb"BM"),
    "TIFF": re.compile(rb"II[*+]\0|MM\0[*+]"),
    "GIF": re.compile(rb"GIF8[79]a"),
    "PPM": re.compile(rb"P[1-6][\s#]"),
}
_BOXES = {
    b"avif": "AVIF",
    b"avis": "AVIF",
    b"heic": "HEIC",
    b"heix": "HEIC",
    b"hevc": "HEIC",
    b"mif1": "HEIF",
    b"msf1": "HEIF",
    b"crx ": "Canon RAW",
}
_HEADS = (
    (b"8BPS", "a Photoshop document (PSD)"),
    (b"%!PS", "PostScript (EPS)"),
    (b"\xc5\xd0\xd3\xc6", "PostScript (EPS)"),
    (b"%PDF", "PDF"),
    (b"\0\0\1\0", "an icon (ICO)"),
    (b"\0\0\2\0", "TGA or a cursor (CUR)"),
    (b"\n\5\1", "PCX"),
    (b"icns", "an icon (ICNS)"),
    (b"\0\0\0\x0cjP  ", "JPEG 2000"),
    (b"\xffO\xffQ", "JPEG 2000"),
    (b"\xff\x0a", "JPEG XL"),
    (b"\0\0\0\x0cJXL ", "JPEG XL"),
    (b"II\xbc\1", "JPEG XR"),
    (b"v/1\1", "OpenEXR"),
    (b"#?RADIANCE", "Radiance HDR"),
    (b"qoif", "QOI"),
    (b"DDS ", "DDS"),
    (b"SIMPLE  =", "FITS"),
    (b"gimp xcf", "a GIMP document (XCF)"),
    (b"\xd7\xcd\xc6\x9a", "WMF"),
    (b"\x01\xda", "SGI"),
    (b"\x59\xa6\x6a\x95", "Sun raster"),
    (b"Pf", "PFM"),
    (b"PF", "PFM"),
    (b"P7", "PAM"),
    (b"FUJIFILM", "Fujifilm RAW"),
    (b"RIFF", "a film or sound (RIFF)"),
    (b"\x1aE\xdf\xa3", "a film (Matroska)"),
    (b"PK\3\4", "a zip archive"),
    (b"\x1f\x8b", "a gzip archive"),
    (b"7z\xbc\xaf", "a 7z archive"),
    (b"Rar!", "a RAR archive"),
    (b"\x89HDF", "HDF5"),
    (b"\x93NUMPY", "an array (npy)"),
    (b"\x7fELF", "a program"),
    (b"MZ", "a program"),
    (b"<svg", "SVG"),
    (b"<!DOCTYPE", "a web page"),
    (b"<html", "a web page"),
    (b"<?xml", "XML"),
    (b"version https://git-lfs", "a Git LFS pointer (git lfs pull fetches the image)"),
)


def format_of(data: bytes) -> str | None:
    """Returns which of FORMATS the file is, or None; its name does not count."""
    return next((name for name, start in _OURS.items() if start.match(data)), None)


def content_of(head: bytes) -> str:
    """Returns in words what a file that begins with `head` is, such as "PDF" or "text"; "" where nothing is known.

    Args:
        head: the first 256 bytes or fewer.
    """
    if head[4:8] == b"ftyp":
        return _BOXES.get(head[8:12], "a film (MP4)")
    for start, name in _HEADS:
        if head[: len(start)].lower() == start.lower():
            return name
    if not any(head):
        return "nothing but zero bytes"
    if head[128:132] == b"DICM":
        return "DICOM"
    return "text" if all(byte in b"\t\n\r\f" or 32 <= byte < 127 for byte in head) else ""
