"""The kind of a processor: its architecture and the instruction sets by which a backend chooses its kernels.

Two processors of one kind run the same kernels, so a gate that passed on one of them holds on the other. Two of different
kinds may compute other features from the same file: x86 without VNNI, for example, adds products of bytes in 16 bits, which saturate.
"""

from __future__ import annotations

import platform
from functools import cache
from pathlib import Path

CPUINFO = Path("/proc/cpuinfo")
# The instruction sets by which ONNX Runtime and OpenVINO choose their kernels, as Linux spells them.
X86 = (
    "sse4_1",
    "avx",
    "f16c",
    "fma",
    "avx2",
    "avx_vnni",
    "avx_vnni_int8",
    "avx512f",
    "avx512bw",
    "avx512_vnni",
    "avx512_bf16",
    "avx512_fp16",
    "amx_int8",
    "amx_bf16",
    "amx_fp16",
)
ARM = ("asimd", "asimdhp", "asimddp", "i8mm", "bf16", "sve", "sve2", "sme")
NAMES = {"amd64": "x86_64", "arm64": "aarch64"}
# With any of these an x86 processor adds products of bytes in 32 bits.
VNNI = {"avx_vnni", "avx512_vnni"}


@cache
def this_kind() -> str:
    """Return the kind of this machine's processor, such as "x86_64 sse4_1 avx f16c fma avx2"."""
    return kind(platform.machine(), _cpuinfo(), platform.processor())


@cache
def saturates() -> bool:
    """Return whether sums of products of uint8 and int8 may saturate on this processor: x86 without VNNI, or of unknown sets."""
    return may_saturate(this_kind())


def kind(machine: str, cpuinfo: str, name: str) -> str:
    """Return the kind of a processor from `platform.machine()`, the text of /proc/cpuinfo ("" where there is none) and its name.

    An instruction set counts when all cores have it. Without that text the name stands for the instruction sets.
    """
    architecture = NAMES.get(machine.lower(), machine.lower())
    cores = [
        set(value.split())
        for key, _, value in (line.partition(":") for line in cpuinfo.splitlines())
        if key.strip() in ("flags", "Features")
    ]
    if not cores:
        return f"{architecture} ({name or 'instruction sets unknown'})"
    common = set[str].intersection(*cores)
    return " ".join([architecture, *(name for name in (*X86, *ARM) if name in common)])


def may_saturate(kind: str) -> bool:
    """Return whether sums of products of uint8 and int8 may saturate on a processor of this kind."""
    architecture, *sets = kind.split()
    return architecture == "x86_64" and not VNNI & set(sets)


def _cpuinfo() -> str:
    try:
        return CPUINFO.read_text()
    except OSError:
        return ""
