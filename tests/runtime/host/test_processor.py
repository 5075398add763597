"""The kind of a processor is what its kernels are chosen by: pure functions of /proc/cpuinfo's text."""

import pytest

from runtime.host.processor import kind, may_saturate, saturates, this_kind

X86 = "processor\t: {core}\nmodel name\t: AMD EPYC\nflags\t\t: fpu sse4_1 avx f16c fma avx2 {more} rdrand\nbogomips\t: 4890.86\n"
ARM = (
    "processor\t: 0\nFeatures\t: fp asimd evtstrm aes asimdhp cpuid asimddp {more}\nCPU implementer\t: 0x41\n"
)
AVX2 = "x86_64 sse4_1 avx f16c fma avx2"


def cpu(*cores):
    return "\n".join(X86.format(core=index, more=more) for index, more in enumerate(cores))


def test_flags_that_choose_kernels_make_the_kind():
    assert kind("x86_64", cpu(""), "") == AVX2
    assert kind("x86_64", cpu("avx512f avx512_vnni amx_int8"), "") == f"{AVX2} avx512f avx512_vnni amx_int8"
    assert kind("aarch64", ARM.format(more="i8mm bf16"), "") == "aarch64 asimd asimdhp asimddp i8mm bf16"


def test_neither_order_nor_other_flags_nor_the_name_of_the_system_change_it():
    assert kind("AMD64", cpu("xsaves hypervisor"), "Intel64 Family 6") == kind("x86_64", cpu("sha_ni"), "")
    assert kind("x86_64", cpu("avx512_vnni avx512f"), "") == kind("x86_64", cpu("avx512f avx512_vnni"), "")


def test_only_what_all_cores_have_counts():
    assert kind("x86_64", cpu("avx_vnni", ""), "") == AVX2


def test_without_flags_the_name_stands_for_them():
    assert kind("arm64", "", "Apple M2") == "aarch64 (Apple M2)"
    assert kind("x86_64", "", "") != kind("x86_64", "", "Intel64 Family 6")
    assert kind("x86_64", "flags of nobody\n", "") == kind("x86_64", "", "")


@pytest.mark.parametrize(
    "more, expected",
    [("", True), ("avx512f avx512bw", True), ("avx_vnni", False), ("avx512f avx512_vnni amx_int8", False)],
)
def test_x86_saturates_unless_it_has_vnni(more, expected):
    assert may_saturate(kind("x86_64", cpu(more), "")) is expected


def test_arm_does_not_saturate_and_an_unknown_x86_may():
    assert not may_saturate(kind("aarch64", ARM.format(more=""), ""))
    assert may_saturate(kind("x86_64", "", "avx_vnni?"))


def test_this_machine_has_a_kind():
    assert this_kind().split()[0] in ("x86_64", "aarch64") and saturates() == may_saturate(this_kind())
