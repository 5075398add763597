"""Power from the kernel's files of both layouts, in made-up trees."""

import pytest

from benchmarks.device.power.ina import chips, find_rails, read_rails
from tests.fakes.jetson_files import put

HWMON = "sys/class/hwmon/hwmon1"
IIO = "sys/bus/i2c/drivers/ina3221x/1-0040/iio:device0"


def test_jetpack_5_and_later_give_volts_and_amperes(tmp_path):
    files = {"name": "ina3221\n", "in1_label": "VDD_IN\n", "in1_input": "5032\n", "curr1_input": "1200\n"}
    files |= {"in2_label": "NC\n", "in2_input": "5000\n", "curr2_input": "0\n"}
    files |= {"in7_label": "sum of shunt voltages\n", "in7_input": "9\n", "curr7_input": "9\n"}
    put(tmp_path, {f"{HWMON}/{name}": text for name, text in files.items()})
    put(tmp_path, {"sys/class/hwmon/hwmon0/name": "tmp451\n", "sys/class/hwmon/hwmon0/in1_label": "other\n"})
    assert read_rails(find_rails(tmp_path)) == {"VDD_IN": 5032 * 1.2}


def test_jetpack_4_gives_milliwatts(tmp_path):
    put(tmp_path, {f"{IIO}/rail_name_0": "POM_5V_IN\n", f"{IIO}/in_power0_input": "1933\n"})
    assert read_rails(find_rails(tmp_path)) == {"POM_5V_IN": 1933.0}


def test_a_rail_that_cannot_be_read_now_is_left_out_and_a_machine_without_has_none(tmp_path):
    assert find_rails(tmp_path) == []
    put(tmp_path, {f"{HWMON}/name": "ina3221", f"{HWMON}/in1_label": "VDD_IN", f"{HWMON}/in1_input": "5000"})
    rails = find_rails(tmp_path)
    assert len(rails) == 1 and read_rails(rails) == {}
    for text in ("busy", "nan", "inf", "", "9" * 400, "\x00"):
        put(tmp_path, {f"{HWMON}/curr1_input": text})
        assert read_rails(rails) == {}, text


@pytest.mark.parametrize("chip", ["ina219", "ina226", "ina230", "ina231", "ina237", "ina238", "ina260"])
def test_a_chip_with_one_channel_gives_microwatts_or_volts_and_amperes(tmp_path, chip):
    """in0 of these chips is the shunt, in1 the bus: 19 V and 1.5 A are 28.5 W."""
    files = {"name": f"{chip}\n", "in0_input": "3\n", "in1_input": "19000\n", "curr1_input": "1500\n"}
    put(tmp_path, {f"{HWMON}/{name}": text for name, text in files.items()})
    (rail,) = find_rails(tmp_path)
    assert rail.name == f"{chip}@hwmon1" and read_rails([rail]) == {rail.name: 28500.0}
    put(tmp_path, {f"{HWMON}/power1_input": "28750000\n", f"{HWMON}/label": "VIN\n"})
    assert read_rails(find_rails(tmp_path)) == {"VIN": 28750.0}


def test_two_kinds_of_chips_are_read_together_and_both_named(tmp_path):
    """As on Thor, whose whole board has a chip of its own."""
    chip_files = {"name": "ina3221", "in1_label": "VDD_GPU", "in1_input": "5000", "curr1_input": "2000"}
    chip_files |= {
        "in2_label": "VDD_CPU_SOC_MSS",
        "in2_input": "5000",
        "curr2_input": "1000",
        "in4_input": "7",
    }
    put(tmp_path, {f"{HWMON}/{name}": text for name, text in chip_files.items()})
    put(
        tmp_path, {"sys/class/hwmon/hwmon2/name": "ina238", "sys/class/hwmon/hwmon2/power1_input": "40000000"}
    )
    rails = find_rails(tmp_path)
    assert read_rails(rails) == {"VDD_GPU": 10000, "VDD_CPU_SOC_MSS": 5000, "ina238@hwmon2": 40000}
    assert chips(rails) == "INA238+INA3221"


def test_other_sensors_of_the_kernel_are_none(tmp_path):
    for number, name in enumerate(("tmp451", "pwmfan", "nvme", "indigo", "ina", "")):
        folder = f"sys/class/hwmon/hwmon{number}"
        put(tmp_path, {f"{folder}/name": name, f"{folder}/in1_input": "1", f"{folder}/power1_input": "1"})
    assert find_rails(tmp_path) == []
