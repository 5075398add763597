"""The kind of a processor: its architecture and the instruction sets by which a backend chooses its kernels.

Two processors of the same kind run the same kernels. So a model that passed its quality gate on one of them needs no gate on the
other. Processors of different kinds may compute different features with the same file. For example, in an INT8 matrix
multiplication, x86 without VNNI adds pairs of uint8 x int8 products in 16 bits, and these sums can saturate.
"""

from __future__ import annotations

import platform
from functools import cache
from pathlib import Path

CPUINFO = Path("/proc/cpuinfo")
# The instruction sets by which ONNX Runtime and OpenVINO choose their kernels, as /proc/cpuinfo spells them.
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
# With any of these instruction sets, an x86 processor adds uint8 x int8 products in 32 bits, which do not saturate.
VNNI = {"avx_vnni", "avx512_vnni"}


@cache
def this_kind() -> str:
    """Return the kind of this machine's processor, such as "x86_64 sse4_1 avx f16c fma avx2"."""
    return kind(platform.machine(), _cpuinfo(), platform.processor())


@cache
def saturates() -> bool:
    """Return whether the sums of uint8 x int8 products in an INT8 model may saturate on this processor (`may_saturate`)."""
    return may_saturate(this_kind())


def kind(machine: str, cpuinfo: str, name: str) -> str:
    """Return the kind of a processor: its architecture and the instruction sets that all cores have.

    `machine` is `platform.machine()`, and `cpuinfo` is the text of /proc/cpuinfo. If `cpuinfo` lists no instruction sets, the
    processor's `name` stands for them. For example, kind("arm64", "", "arm") is "aarch64 (arm)", because arm64 is aarch64.
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
    """Return whether the sums of uint8 x int8 products may saturate on a processor of this `kind`.

    They may on x86 without VNNI, and on x86 whose instruction sets are unknown.
    """
    architecture, *sets = kind.split()
    return architecture == "x86_64" and not VNNI & set(sets)


def _cpuinfo() -> str:
    try:
        return CPUINFO.read_text()
    except OSError:
        return ""
