"""The state of a made-up Jetson, and what is said of it."""

from benchmarks import board
from tests.jetson_files import put, put_board


def of(root):
    return board.describe(root, {}), board.state(root)


def test_everything_is_read_from_the_files(tmp_path):
    about, state = of(put_board(tmp_path))
    assert about == {
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
    assert board.advice(best, *of(best)) == [] and board.doubts(best, *of(best), of(best)[1]) == []
    slow = put_board(tmp_path / "slow", mode=0, locked=False)
    assert board.advice(slow, *of(slow)) == ["sudo nvpmodel -m 2", "sudo jetson_clocks"]
    (said,) = board.doubts(slow, *of(slow), of(slow)[1])
    assert "15W" in said and "clocks not locked" in said and "sudo jetson_clocks" in said


def test_nothing_known_is_null_and_never_taken_for_good(tmp_path):
    about, state = of(tmp_path)
    assert set(about.values()) == {None} and state["locked"] is None
    assert board.advice(tmp_path, about, state) == ["sudo nvpmodel -m 0", "sudo jetson_clocks"]


def test_cooling_at_work_and_new_over_current_events_are_throttling(tmp_path):
    put_board(tmp_path)
    before = board.state(tmp_path)
    put(
        tmp_path,
        {"sys/class/thermal/cooling_device1/cur_state": "2\n", "sys/class/hwmon/hwmon3/oc1_event_cnt": "4\n"},
    )
    after = board.state(tmp_path)
    assert board.throttled(before, after) == ["oc1", "cpufreq-cpu0"]
    assert board.throttled(after, after) == ["cpufreq-cpu0"], "old events are not this run's"
    assert "cpufreq-cpu0" in board.doubts(tmp_path, *of(tmp_path), after)[0]
