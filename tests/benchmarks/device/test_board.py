"""The state of a made-up Jetson, and what is said of it."""

import shutil

from benchmarks.device import board
from tests.fakes.jetson_files import put, put_board


def of(root):
    return board.describe(root, {}), board.state(root)


def doubts(root, *later):
    return board.doubts(root, of(root)[0], [board.state(root), *later])


def test_everything_is_read_from_the_files(tmp_path):
    description, state = of(put_board(tmp_path))
    assert description == {
        "model": "NVIDIA Jetson Developer Kit",
        "module": "Jetson Orin Nano (8 GB, developer kit)",
        "soc": "tegra234",
        "l4t": "36.4.3",
        "jetpack": "6.2",
        "cuda": "12.6.68",
        "tensorrt_package": "10.3.0.30",
        "power_mode": {"id": 2, "name": "MAXN_SUPER"},
    }
    (gpu,) = state["clocks"]["gpu"]
    assert (gpu["name"], gpu["mhz"], gpu["min_mhz"], gpu["max_mhz"]) == (
        "17000000.gpu",
        1020.0,
        1020.0,
        1020.0,
    )
    assert state["clocks"]["cpu"][0]["mhz"] == 1728.0 and state["clocks"]["emc"] == []
    assert state["temperatures_c"] == {"cpu-thermal": 48.25}, "a zone that sleeps at -256 is left out"
    assert state["locked"] is True and state["throttling"] == {"oc1": 0}, "a turning fan is no throttling"


def test_the_memory_clock_is_there_where_it_may_be_read(tmp_path):
    put_board(tmp_path)
    put(tmp_path, {f"{board.EMC}/rate": "3199000000\n", f"{board.EMC}/max_rate": "3199000000\n"})
    assert board.state(tmp_path)["clocks"]["emc"][0]["mhz"] == 3199.0


def test_a_board_at_its_best_needs_no_command_and_another_is_told_which(tmp_path):
    best = put_board(tmp_path / "best")
    assert board.advice(best, *of(best)) == [] and doubts(best) == []
    slow = put_board(tmp_path / "slow", mode=0, locked=False)
    assert board.advice(slow, *of(slow)) == ["sudo nvpmodel -m 2", "sudo jetson_clocks"]
    (warning,) = doubts(slow)
    assert "15W" in warning and "clocks not locked" in warning and "sudo jetson_clocks" in warning


def test_nothing_known_is_null_and_never_taken_for_good(tmp_path):
    description, state = of(tmp_path)
    assert set(description.values()) == {None} and state["locked"] is None
    assert board.advice(tmp_path, description, state) == ["sudo jetson_clocks"]


def test_cooling_at_work_and_new_over_current_events_are_throttling(tmp_path):
    put_board(tmp_path)
    before = board.state(tmp_path)
    put(
        tmp_path,
        {"sys/class/thermal/cooling_device1/cur_state": "2\n", "sys/class/hwmon/hwmon3/oc1_event_cnt": "4\n"},
    )
    after = board.state(tmp_path)
    assert board.throttled([before, after]) == ["oc1", "cpufreq-cpu0"]
    assert board.throttled([after, after]) == ["cpufreq-cpu0"], "old events are not this run's"
    assert board.throttled([before, after, before]) == ["oc1", "cpufreq-cpu0"], "cooled down before the end"
    assert "oc1" in board.throttled([after, before]), "a counter that starts anew has counted"
    assert "cpufreq-cpu0" in doubts(tmp_path, after)[0]


def test_a_held_clock_that_moves_is_told_and_a_free_one_is_not(tmp_path):
    for locked in (True, False):
        root = put_board(tmp_path / str(locked), locked=locked)
        steady = board.state(root)
        put(root, {"sys/class/devfreq/17000000.gpu/cur_freq": "612000000\n"})
        slowed = board.state(root)
        moved_clocks = board.moved([steady, slowed, steady])
        assert moved_clocks == (["17000000.gpu: 612 .. 1020 MHz"] if locked else [])
    assert board.moved([steady, steady]) == []


def test_clocks_are_locked_only_where_every_one_is_seen_to_be(tmp_path):
    gpu = "sys/class/devfreq/17000000.gpu"
    for missing in (f"{gpu}/min_freq", gpu, "sys/devices/system/cpu/cpufreq/policy0"):
        root = put_board(tmp_path / missing.replace("/", "_"))
        path = root / missing
        shutil.rmtree(path) if path.is_dir() else path.unlink()
        assert board.state(root)["locked"] is None, missing
    assert board.state(put_board(tmp_path / "free", locked=False))["locked"] is False


def test_numbers_that_are_none_are_left_out(tmp_path):
    put_board(tmp_path)
    for text in ("nan\n", "inf\n", "9" * 400, "", "\x00\xff"):
        files = ("class/thermal/cooling_device1/cur_state", "class/hwmon/hwmon3/oc1_event_cnt")
        put(tmp_path, {f"sys/{name}": text for name in (*files, "class/thermal/thermal_zone0/temp")})
        state = board.state(tmp_path)
        assert state["throttling"] == {} and state["temperatures_c"] == {}
