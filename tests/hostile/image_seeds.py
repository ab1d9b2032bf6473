"""Image files that mutations begin with: every format that is read, in the forms it comes in, and what is none.

What Pillow cannot write is written by hand. All are made when they are asked for; none lies in the repository.
"""

from __future__ import annotations

import io
import struct
import zlib
from typing import Any

import numpy as np
from PIL import Image, features

from edgexfer.core.png_parts import SIGNATURE

_SIDE = 24


def scene(width: int = _SIDE, height: int = _SIDE) -> Image.Image:
    """A gradient with noise, RGB; always the same."""
    rows, columns = np.mgrid[0:height, 0:width]
    noise = np.random.default_rng(width * height).integers(0, 40, (height, width))
    planes = [columns * 215 // max(width - 1, 1) + noise, rows * 215 // max(height - 1, 1) + noise, noise + 90]
    return Image.fromarray(np.stack(planes, axis=2).astype(np.uint8))


def saved(image: Image.Image, kind: str, **options: Any) -> bytes:
    """The bytes of `image` as a file."""
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def chunk(kind: bytes, body: bytes) -> bytes:
    """A PNG chunk with the right sum."""
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))


def png(
    width: int, height: int, rows: bytes, *more: bytes, bits: int = 8, colour: int = 2, interlace: int = 0
) -> bytes:
    """A PNG by hand: `rows` as they are before deflating, `more` chunks before the pixels."""
    head = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, bits, colour, 0, 0, interlace))
    return SIGNATURE + head + b"".join(more) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")


def segment(marker: int, body: bytes) -> bytes:
    """A JPEG segment."""
    return struct.pack(">BBH", 0xFF, marker, len(body) + 2) + body


def with_segments(jpeg: bytes, *segments: bytes) -> bytes:
    """A JPEG with further segments at its start."""
    return jpeg[:2] + b"".join(segments) + jpeg[2:]


def exif(*entries: tuple[int, int, int, int], after: bytes = b"") -> bytes:
    """A block of EXIF from entries (tag, type, count, value or place), and bytes behind its directory."""
    directory = b"".join(struct.pack("<HHLL", *entry) for entry in entries)
    return b"Exif\0\0II*\0" + struct.pack("<LH", 8, len(entries)) + directory + bytes(4) + after


def many_scans(side: int, scans: int) -> bytes:
    """A progressive JPEG that asks for so many passes over side x side pixels."""
    whole = saved(Image.new("RGB", (side, side)), "JPEG", progressive=True)
    last, end = whole.rfind(b"\xff\xda"), whole.rfind(b"\xff\xd9")
    return whole[:end] + whole[last:end] * scans + whole[end:]


def bmp_rle(width: int, height: int, body: bytes, depth: int = 8) -> bytes:
    """A BMP in run lengths of 8 or 4 bits."""
    palette = bytes(range(256)) * 4 if depth == 8 else bytes(64)
    start = 54 + len(palette)
    head = struct.pack("<IiiHHIIiiII", 40, width, height, 1, depth, 1 if depth == 8 else 2, len(body), 0, 0, 0, 0)
    return b"BM" + struct.pack("<IHHI", start + len(body), 0, 0, start) + head + palette + body


def gif_screen(width: int, height: int, dispose: int, frame: tuple[int, int]) -> bytes:
    """A GIF with a screen, a first frame of another size, and a way to dispose of it."""
    head = b"GIF89a" + struct.pack("<HHBBB", width, height, 0x80, 0, 0) + bytes(range(6))
    control = b"!\xf9\x04" + bytes([dispose << 2 | 1, 0, 0, 0, 0])
    return head + control + b"," + struct.pack("<HHHHB", 0, 0, *frame, 0) + b"\x02\x02\x4c\x01\x00;"


def tiff_in_circles() -> bytes:
    """A TIFF whose second page is its first."""
    whole = bytearray(saved(scene(), "TIFF"))
    (place,) = struct.unpack_from("<L", whole, 4)
    (count,) = struct.unpack_from("<H", whole, place)
    struct.pack_into("<L", whole, place + 2 + 12 * count, place)
    return bytes(whole)


def tiff_of(*entries: tuple[int, int, int, int], after: bytes = b"") -> bytes:
    """A TIFF of one page from entries (tag, type, count, value or place)."""
    return exif(*entries, after=after)[6:]


def _exif_of(orientation: int) -> Image.Exif:
    made = Image.Exif()
    made[0x0112] = orientation
    return made


def _jpegs() -> dict[str, bytes]:
    plain = saved(scene(), "JPEG", quality=90)
    frame = plain.find(b"\xff\xc0")
    junk = exif((0x0112, 3, 99, 9), (0x8769, 4, 1, 8), (700, 9, 9, 9))
    one_place = exif(*((tag, 1, 9000, 8) for tag in range(700)), after=bytes(600))
    return {
        "jpeg": plain,
        "jpeg grey": saved(scene().convert("L"), "JPEG"),
        "jpeg cmyk": saved(scene().convert("CMYK"), "JPEG"),
        "jpeg progressive": saved(scene(40, 30), "JPEG", progressive=True),
        "jpeg restarts": saved(scene(), "JPEG", restart_marker_rows=1),
        "jpeg whole chroma": saved(scene(), "JPEG", subsampling=0, optimize=True),
        "jpeg turned": saved(scene(30, 20), "JPEG", exif=_exif_of(6)),
        "jpeg icc": saved(scene(), "JPEG", icc_profile=b"acsp" * 200),
        "jpeg comment": saved(scene(), "JPEG", comment=b"\x1b[2J" * 9),
        "jpeg arithmetic": plain[: frame + 1] + b"\xc9" + plain[frame + 2 :],
        "jpeg 12 bits": plain[: frame + 4] + b"\x0c" + plain[frame + 5 :],
        "jpeg exif junk": with_segments(plain, segment(0xE1, junk)),
        "jpeg exif of one place": with_segments(plain, segment(0xE1, one_place)),
        "jpeg mpf junk": with_segments(plain, segment(0xE2, b"MPF\0II*\0\x08\0\0\0\xff\xff" + bytes(99))),
        "jpeg passes": many_scans(64, 300),
        "jpeg 1 x 65500": saved(Image.new("RGB", (1, 65500)), "JPEG"),
        "mpo": saved(scene(), "MPO", save_all=True, append_images=[Image.new("RGB", (24, 24))]),
    }


def _pngs() -> dict[str, bytes]:
    sixteen = Image.fromarray(np.arange(576, dtype=np.uint16).reshape(24, 24) * 113)
    shades = scene().quantize(16)
    many = [Image.new("RGB", (24, 24), (shade, 0, 0)) for shade in (9, 99, 200)]
    rows = np.random.default_rng(2).integers(0, 256, 64 * 3 + 15, np.uint8)
    passes = [(1, 1), (1, 1), (2, 1), (2, 2), (4, 2), (4, 4), (8, 4)]
    woven = b"".join(b"\0" + rows[: 3 * width].tobytes() for width, height in passes for _ in range(height))
    text = b"Comment\0\0" + zlib.compress(bytes(16 << 20))
    return {
        "png": saved(scene(), "PNG"),
        "png clear": saved(scene().convert("RGBA"), "PNG"),
        "png grey clear": saved(scene().convert("LA"), "PNG"),
        "png palette": saved(shades, "PNG"),
        "png palette clear": saved(shades, "PNG", transparency=bytes(range(0, 160, 10))),
        "png 1 bit": saved(scene().convert("1"), "PNG"),
        "png 16 bits": saved(sixteen, "PNG"),
        "png 16 bits colour": png(4, 4, (b"\0" + bytes(range(24))) * 4, bits=16),
        "png interlaced": png(8, 8, woven, interlace=1),
        "png turned": saved(scene(30, 20), "PNG", exif=_exif_of(8)),
        "apng": saved(many[0], "PNG", save_all=True, append_images=many[1:]),
        "png text bomb": png(2, 2, bytes(14), chunk(b"zTXt", text)),
        "png icc bomb": png(2, 2, bytes(14), chunk(b"iCCP", text)),
        "png exif junk": png(2, 2, bytes(14), chunk(b"eXIf", b"MM\0*" + b"\xff" * 40)),
        "png bomb": png(60_000, 60_000, bytes(99), bits=1, colour=0),
        "png says more": png(3000, 3000, bytes(99)),
        "png 1 x 65535": png(1, 65535, bytes(65535 * 2), colour=0),
        "png 65535 x 1": png(65535, 1, bytes(65536), colour=0),
    }


def _webps() -> dict[str, bytes]:
    many = [Image.new("RGB", (24, 24), (shade, 0, 0)) for shade in (9, 99, 200)]
    large = bytearray(saved(scene().convert("RGBA"), "WEBP", exif=_exif_of(6)))
    large[24:30] = b"\xff\x3f\0\xff\x3f\0"
    return {
        "webp": saved(scene(), "WEBP"),
        "webp lossless": saved(scene(), "WEBP", lossless=True),
        "webp clear": saved(scene().convert("RGBA"), "WEBP"),
        "webp animated": saved(many[0], "WEBP", save_all=True, append_images=many[1:]),
        "webp turned": saved(scene(30, 20), "WEBP", exif=_exif_of(5), icc_profile=b"acsp" * 99),
        "webp says more": bytes(large),
    }


def _tiffs() -> dict[str, bytes]:
    sixteen = Image.fromarray(np.arange(576, dtype=np.uint16).reshape(24, 24) * 113)
    many = [Image.new("RGB", (8, 8), (shade, 0, 0)) for shade in range(0, 250, 2)]
    tile = [(256, 4, 1, 9), (257, 4, 1, 9), (258, 3, 1, 8), (259, 3, 1, 5), (262, 3, 1, 1)]
    tile += [(322, 4, 1, 40_000), (323, 4, 1, 40_000), (324, 4, 1, 8), (325, 4, 1, 99)]
    packed = ("tiff_lzw", "tiff_adobe_deflate", "packbits", "jpeg")
    return {
        "tiff": saved(scene(), "TIFF"),
        **{f"tiff {name}": saved(scene(), "TIFF", compression=name) for name in packed},
        "tiff fax": saved(scene().convert("1"), "TIFF", compression="group4"),
        "tiff zstd or lzma": saved(scene(), "TIFF", compression="zstd"),
        "tiff 16 bits": saved(sixteen, "TIFF"),
        "tiff clear": saved(scene().convert("RGBA"), "TIFF", compression="tiff_lzw"),
        "tiff cmyk": saved(scene().convert("CMYK"), "TIFF"),
        "tiff lab": saved(scene().convert("LAB"), "TIFF"),
        "tiff palette": saved(scene().quantize(9), "TIFF"),
        "tiff float": saved(scene().convert("L").convert("F"), "TIFF"),
        "tiff turned": saved(scene(30, 20), "TIFF", exif=_exif_of(6)),
        "tiff big": saved(scene(), "TIFF", big_tiff=True),
        "tiff pages": saved(many[0], "TIFF", save_all=True, append_images=many[1:]),
        "tiff in circles": tiff_in_circles(),
        "tiff large tile": tiff_of(*tile, after=bytes(99)),
        "tiff of one place": tiff_of(*((tag, 1, 20_000, 8) for tag in range(40_000, 42_000))),
    }


def _others() -> dict[str, bytes]:
    many = [Image.new("P", (24, 24), shade) for shade in (9, 99, 200)]
    grey = scene().convert("L").tobytes()
    return {
        "bmp": saved(scene(), "BMP"),
        "bmp palette": saved(scene().quantize(9), "BMP"),
        "bmp 1 bit": saved(scene().convert("1"), "BMP"),
        "bmp clear": saved(scene().convert("RGBA"), "BMP"),
        "bmp runs": bmp_rle(24, 24, b"\x18\x05\0\0" * 24 + b"\0\1"),
        "bmp runs of 4 bits": bmp_rle(24, 24, b"\x18\x21\0\0" * 24 + b"\0\1", depth=4),
        "bmp steps": bmp_rle(200_000, 20, b"\0\2\xff\xff" * 9),
        "gif": saved(scene(), "GIF"),
        "gif animated": saved(many[0], "GIF", save_all=True, append_images=many[1:], loop=0, disposal=2),
        "gif clear": saved(scene().quantize(9), "GIF", transparency=3, interlace=1),
        "gif screen": gif_screen(9400, 9800, 2, (9400, 9800)),
        "gif over its screen": gif_screen(2, 2, 2, (65_000, 65_000)),
        "gif comments": saved(scene(), "GIF")[:-1] + b"!\xfe\x01x\0" * 999 + b";",
        "ppm": saved(scene(), "PPM"),
        "pgm 16 bits": b"P5 4 2 65535\n" + bytes(range(16)),
        "pgm odd": b"P5 24 24 250\n" + grey,
        "pgm in words": b"P2\n# said\n4 2 255\n" + b"1 22 255 0 " * 2,
        "pbm": saved(scene().convert("1"), "PPM"),
        "ppm in words": b"P3 2000 2000 255\n" + b"7 " * 99,
        "pfm": b"Pf 2 2 -1.0\n" + bytes(16),
    }


def _foreign() -> dict[str, bytes]:
    made = {
        f"foreign {kind.lower()}": saved(scene(32, 32), kind)
        for kind in ("ICO", "TGA", "PCX", "EPS", "PDF", "ICNS", "DDS", "SGI", "AVIF", "JPEG2000")
        if kind not in ("AVIF", "JPEG2000") or features.check({"AVIF": "avif", "JPEG2000": "jpg_2000"}[kind])
    }
    return {
        **made,
        "foreign psd": b"8BPS\0\1" + bytes(6) + struct.pack(">HIIHH", 3, 8, 8, 8, 3) + bytes(300),
        "foreign svg": b"<svg xmlns='http://www.w3.org/2000/svg'/>",
        "foreign page": b"<!DOCTYPE html><html><body>404</body></html>",
        "foreign heic": b"\0\0\0\x18ftypheic\0\0\0\0mif1heic" + bytes(99),
        "foreign zip": b"PK\3\4" + bytes(99),
        "foreign pointer": b"version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 1\n",
        "foreign words": b"nothing to see here\n",
        "foreign zeros": bytes(5000),
        "foreign nothing": b"",
    }


def image_seeds() -> dict[str, bytes]:
    """Returns {name: content} of all seeds."""
    return {**_jpegs(), **_pngs(), **_webps(), **_tiffs(), **_others(), **_foreign()}


def largest_of_each() -> dict[str, bytes]:
    """Returns {name: content} of small files that are just below every limit, and so take the most time and memory."""
    side = 9990
    return {
        "large png": _flat_png(side, 2, 8, 3),
        "large png clear": _flat_png(side, 6, 8, 4),
        "large png of 16 bits": _flat_png(side, 0, 16, 2),
        "large png clear of 16 bits": _flat_png(side, 6, 16, 8),
        "large webp": saved(Image.new("RGB", (8300, 8400)), "WEBP", lossless=True, quality=0, method=0),
        "large jpeg": saved(Image.new("CMYK", (side, side)), "JPEG", quality=30),
        "large jpeg of many passes": many_scans(side, 9),
        "large jpeg of four colours": saved(Image.new("CMYK", (side, side)), "JPEG", progressive=True, subsampling=0),
        "large tiff": saved(Image.new("RGB", (9400, 9400)), "TIFF", compression="tiff_lzw"),
        "large gif": saved(Image.new("P", (side, side)), "GIF", transparency=0),
        "large bmp": saved(Image.new("1", (side, side)), "BMP"),
        "slow pgm": b"P3 1000 1000 255\n" + b"7 " * 3_000_000,
    }


def _flat_png(side: int, colour: int, bits: int, row_bytes: int) -> bytes:
    head = chunk(b"IHDR", struct.pack(">IIBBBBB", side, side, bits, colour, 0, 0, 0))
    deflate = zlib.compressobj(1)
    rows = b"".join(deflate.compress(bytes(side * row_bytes + 1)) for _ in range(side)) + deflate.flush()
    return SIGNATURE + head + chunk(b"IDAT", rows) + chunk(b"IEND", b"")
