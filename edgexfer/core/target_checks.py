"""What the keys of a target profile must be to each other; each rule is an error that names the file and the keys.

TensorRT's rules are those of its ONNX parser by release (onnx-tensorrt, docs/operators.md and release notes).
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from edgexfer.core.errors import SettingsError, did_you_mean

if TYPE_CHECKING:
    from edgexfer.core.target import Target

# (release, lowest opset, highest opset) that TensorRT reads from that release on, newest first.
_OPSETS = (((10, 13), 9, 24), ((10, 9), 9, 22), ((10, 0), 9, 20), ((8, 5), 7, 17), ((0, 0), 7, 13))
# From opset 13 on QuantizeLinear holds a scale per channel, from 19 on float16.
_PER_CHANNEL_OPSET = 13
_FLOAT16_OPSET = 19
# GPUs without the 8-bit dot product (dp4a came with compute capability 6.1, and 6.2 lacks it): general knowledge.
_FIRST_INT8 = (6, 1)
_NO_INT8 = ((6, 2),)

_HOST_LISTS = ("boards", "jetpack")
_HOST_TEXTS = ("machine", "compute_capability", "power_mode")


def check_target(target: Target, where: str) -> None:
    """Checks a profile as a whole.

    Args:
        target: every key of which has its type already.
        where: what is named in errors, such as the file.

    Raises:
        SettingsError: a value out of range, or two keys that contradict each other.
    """
    if target.weight_bits not in (7, 8):
        raise SettingsError(f"{where}: weight_bits is {target.weight_bits}, expected 7 or 8")
    if not 0 <= target.max_drop <= 1:
        raise SettingsError(f"{where}: max_drop is {target.max_drop}, expected a fraction between 0 and 1")
    _check_rivals(target, where)
    check_host(target.host, where)
    _check_versions(target, where)
    _check_precision(target, where)
    _check_types(target, where)


def release(version: str) -> tuple[int, int]:
    """Returns major and minor number of a release such as "10.3" or "10.3.0.30".

    Raises:
        ValueError: the text does not begin with two numbers.
    """
    match = re.match(r"(\d+)\.(\d+)(?![^.])", version)
    if match is None:
        raise ValueError(f"'{version}' is no release")
    return int(match[1]), int(match[2])


def tensorrt_opsets(version: str) -> tuple[int, int]:
    """Returns the lowest and the highest ONNX opset that this release of TensorRT reads."""
    _, low, high = next(row for row in _OPSETS if release(version) >= row[0])
    return low, high


def has_int8(compute_capability: str) -> bool:
    """Returns whether GPUs of this compute capability, such as "8.7", compute in 8 bits."""
    capability = release(compute_capability)
    return capability >= _FIRST_INT8 and capability not in _NO_INT8


def _check_rivals(target: Target, where: str) -> None:
    rivals = target.rivals
    if target.backend in rivals or len(set(rivals)) != len(rivals):
        raise SettingsError(
            f"{where}: rivals is {list(rivals)}, expected other backends than '{target.backend}', each once"
        )


def check_host(host: dict[str, Any], where: str) -> None:
    """Checks what a profile says of the machine; see `Target.host`.

    Raises:
        SettingsError: an unknown key, or a value of another type or form.
    """
    known = (*_HOST_LISTS, *_HOST_TEXTS)
    for key, value in host.items():
        if key not in known:
            raise SettingsError(f"{where}: unknown key {'host.' + key!r}", did_you_mean(key, known))
        texts = value if key in _HOST_LISTS and isinstance(value, (list, tuple)) else [value]
        if (key in _HOST_LISTS) != isinstance(value, (list, tuple)) or not all(isinstance(text, str) for text in texts):
            expected = "a list of texts" if key in _HOST_LISTS else "a text"
            raise SettingsError(f"{where}: host.{key} is {value!r}, expected {expected}")
    if host.get("power_mode", "").isdigit():
        raise SettingsError(
            f"{where}: host.power_mode is '{host['power_mode']}', expected a name such as '15W'",
            "the numbers differ by board and JetPack: `nvpmodel -q` shows the name",
        )
    capability = host.get("compute_capability")
    if capability is not None and not re.fullmatch(r"\d+\.\d+", capability):
        raise SettingsError(f"{where}: host.compute_capability is '{capability}', expected such as '8.7'")


def _check_versions(target: Target, where: str) -> None:
    for version in target.engine_versions:
        if not re.fullmatch(r"\d+\.\d+", version):
            raise SettingsError(f"{where}: engine_versions has '{version}', expected major and minor such as '10.3'")
    ordered = sorted(target.engine_versions, key=release)
    if list(target.engine_versions) != ordered or len(set(ordered)) != len(ordered):
        raise SettingsError(f"{where}: engine_versions is not in order", f"write {ordered}, each release once")
    if target.backend != "tensorrt":
        return
    for version in target.engine_versions:
        low, high = tensorrt_opsets(version)
        if not low <= target.opset <= high:
            raise SettingsError(
                f"{where}: opset is {target.opset}, but TensorRT {version} reads {low} to {high}",
                "change opset, or leave that release out of engine_versions",
            )


def _check_precision(target: Target, where: str) -> None:
    capability = target.host.get("compute_capability")
    if target.precision in ("float16", "float32"):
        return
    if capability is not None and not has_int8(capability):
        raise SettingsError(
            f"{where}: precision is '{target.precision}', but a GPU of compute capability {capability} has no INT8",
            "set precision = 'float16'",
        )
    if target.opset < _PER_CHANNEL_OPSET:
        raise SettingsError(
            f"{where}: opset is {target.opset}, but INT8 with a scale per channel needs {_PER_CHANNEL_OPSET} or more"
        )


def _check_types(target: Target, where: str) -> None:
    if target.backend == "tensorrt" and target.dialect != "tensorrt":
        raise SettingsError(
            f"{where}: backend is 'tensorrt' and dialect '{target.dialect}': TensorRT reads no uint8 activations",
            "set dialect = 'tensorrt'",
        )
    if target.float_type == "float16" and target.opset < _FLOAT16_OPSET:
        raise SettingsError(
            f"{where}: float_type is 'float16' and opset {target.opset}, but Q/DQ hold float16 from opset "
            f"{_FLOAT16_OPSET} on",
            "set opset = 19, or float_type = 'float32'",
        )
    if target.engine_pixels == "float32" and target.backend != "tensorrt":
        raise SettingsError(
            f"{where}: engine_pixels is 'float32' and backend '{target.backend}': only TensorRT before 8.5 needs that",
            "leave engine_pixels out",
        )
