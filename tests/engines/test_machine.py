"""Which machine this is, read from a made-up root file system."""

import platform

from engines.machine import this_machine

ORIN = (
    "# R36 (release), REVISION: 4.3, GCID: 38968081, BOARD: generic, EABI: aarch64, DATE: Wed Jan  8 2025\n"
)


def test_this_machine_is_read_under_the_root_that_is_given(tmp_path):
    def found(environment):
        return this_machine(
            tensorrt="10.3.0", compute_capability="8.7", gpu="Orin", root=tmp_path, environment=environment
        )

    assert (found({}).l4t, found({}).jetpack) == (None, None)
    (tmp_path / "etc").mkdir()
    (tmp_path / "etc/nv_tegra_release").write_text(ORIN)
    machine = found({})
    assert (machine.l4t, machine.jetpack) == ("36.4.3", "6.2")
    assert (machine.tensorrt, machine.compute_capability, machine.gpu) == ("10.3.0", "8.7", "Orin")
    assert (machine.system, machine.processor) == (platform.system(), platform.machine())
    assert found({"JETPACK_VERSION": "6.2.9"}).jetpack == "6.2.9"
