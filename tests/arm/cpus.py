"""The CPUs that are emulated: what QEMU calls them, what /proc/cpuinfo says there, and which 8-bit kernels run on them.

QEMU gives a program the instructions and the HWCAP of the emulated CPU, but lets it read this machine's /proc/cpuinfo.
ONNX Runtime's wheel for Arm crashes on that while it is imported, and edgexfer would find VNNI in it: so each CPU
brings its own.
"""

from __future__ import annotations

from dataclasses import dataclass

_ARM = """processor\t: {number}
BogoMIPS\t: 108.00
Features\t: {features}
CPU implementer\t: {implementer}
CPU architecture: 8
CPU variant\t: {variant}
CPU part\t: {part}
CPU revision\t: {revision}
"""
_HASWELL = """processor\t: {number}
vendor_id\t: GenuineIntel
model name\t: Intel Core Processor (Haswell)
flags\t\t: fpu sse sse2 ssse3 sse4_1 sse4_2 popcnt aes avx f16c rdrand fma bmi1 avx2 bmi2
"""
_A76_FEATURES = "fp asimd evtstrm aes pmull sha1 sha2 crc32 atomics fphp asimdhp cpuid asimdrdm lrcpc dcpop asimddp"


@dataclass(frozen=True)
class Cpu:
    """One emulated CPU.

    Attributes:
        name: what QEMU's -cpu takes.
        emulator: the program that emulates it.
        cpuinfo: what /proc/cpuinfo says there, of two cores.
        kernels: those of `instructions.KNOWN` by which ONNX Runtime adds up 8-bit products there; none of the others.
    """

    name: str
    emulator: str
    cpuinfo: str
    kernels: frozenset[str] = frozenset()


def _arm(name: str, kernels: str, **fields: str) -> Cpu:
    text = "\n".join(_ARM.format(number=number, **fields) for number in range(2))
    return Cpu(name, "qemu-aarch64-static", text, frozenset(kernels.split()))


# The figures of the first two are those that a Raspberry Pi 4 and 5 show; "max" is no product: all that QEMU can do.
CORTEX_A72 = _arm(
    "cortex-a72",
    "sadalp",
    features="fp asimd evtstrm crc32 cpuid",
    implementer="0x41",
    variant="0x0",
    part="0xd08",
    revision="3",
)
CORTEX_A76 = _arm(
    "cortex-a76", "udot", features=_A76_FEATURES, implementer="0x41", variant="0x4", part="0xd0b", revision="1"
)
MAX = _arm(
    "max",
    "ummla",
    features=f"{_A76_FEATURES} sve i8mm bf16",
    implementer="0x00",
    variant="0x0",
    part="0x051",
    revision="0",
)
HASWELL = Cpu("Haswell", "qemu-x86_64-static", "\n".join(_HASWELL.format(number=number) for number in range(2)))
ARM = (CORTEX_A72, CORTEX_A76, MAX)
