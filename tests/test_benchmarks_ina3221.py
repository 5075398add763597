"""Power from the kernel's files of both layouts, in made-up trees."""

from benchmarks.ina3221 import find_rails, read_rails
from tests.jetson_files import put

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
