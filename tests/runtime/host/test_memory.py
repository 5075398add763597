"""The highest resident memory of a process, from a status file and from this machine."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest

from runtime.host.memory import STATUS, high_water


def test_high_water_reads_kilobytes_and_is_none_where_there_is_nothing_to_read(tmp_path):
    status = tmp_path / "status"
    status.write_text("Name:\tpython\nVmPeak:\t  900 kB\nVmHWM:\t  123 kB\nVmRSS:\t 100 kB\n")
    assert high_water(status) == 123 * 1024
    status.write_text("Name:\tpython\n")
    assert high_water(status) is None
    assert high_water(tmp_path / "absent") is None


def test_a_process_counts_its_own_memory_and_not_that_of_the_one_that_started_it():
    if high_water() is None:
        pytest.skip(f"this system has no {STATUS} with VmHWM to read a peak from")
    held = np.ones(200 << 20, np.uint8)
    code = "from runtime.host.memory import high_water; held = bytearray(50 << 20); print(high_water())"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert held[-1] and 50 << 20 < int(done.stdout) < 150 << 20
