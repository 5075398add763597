"""Energy of made-up samples against sums that are known beforehand."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmarks.device.power.energy import Sample, Window, energy, integral_j, total_of


def steady(milliwatts, start=0.0, end=12.0, step=0.1, **others):
    count = round((end - start) / step) + 1
    return [Sample(start + step * number, {"VDD_IN": milliwatts, **others}) for number in range(count)]


@pytest.mark.parametrize(
    ("names", "rail", "known"),
    [
        (["VDD_CPU_GPU_CV", "VDD_IN", "VDD_SOC"], "VDD_IN", True),
        (["POM_5V_GPU", "POM_5V_IN"], "POM_5V_IN", True),
        (["VDD_GPU", "VDD_CPU_SOC_MSS", "VIN_SYS_5V0", "VIN"], "VIN", True),
        (
            ["VDD_GPU_SOC", "VDD_CPU_CV", "VIN_SYS_5V0", "VDDQ_VDD2_1V8AO"],
            "VDD_GPU_SOC+VDD_CPU_CV+VIN_SYS_5V0",
            True,
        ),
        (["GPU", "CPU", "SOC", "CV", "VDDRQ", "SYS5V"], "GPU+CPU+SOC+CV+VDDRQ+SYS5V", True),
        (["VDD_A", "VDD_B", "VDDQ_C"], "VDD_A+VDD_B", False),
    ],
)
def test_the_whole_board_is_named_by_its_rails(names, rail, known):
    total = total_of(names)
    assert (total.name, total.known) == (rail, known)


def test_one_broken_line_does_not_change_what_the_board_is_read_from():
    unknown = [Sample(0.1 * number, {"VDD_A": 4000.0, "VDD_B": 1000.0}) for number in range(121)]
    unknown[60] = Sample(6.0, {"A": 9000.0, "VIN": 12.0})
    result = energy(unknown, Window(0, 12), images=1, idle=None)
    assert (
        result["rail"] == "VDD_A+VDD_B" and result["mean_w"] == pytest.approx(5) and result["incomplete"] == 1
    )


def test_a_rail_that_appears_midway_gives_null_and_never_half_the_energy():
    late = [Sample(sample.at_s, {} if sample.at_s < 6 else sample.rails_mw) for sample in steady(4000)]
    result = energy(late, Window(0, 12), images=1, idle=None)
    assert result["gross_j_per_image"] is None and " for 6" in result["why"]


def test_power_that_no_board_can_take_is_no_sample():
    for broken in (0.0, -3000.0):
        result = energy(steady(broken), Window(0, 12), images=1, idle=Window(0, 11))
        assert result["gross_j_per_image"] is None and result["mean_w"] is None and result["idle_w"] is None
    rails = {"VDD_GPU_SOC": 2000, "VDD_CPU_CV": -8, "VIN_SYS_5V0": 3000}
    result = energy([Sample(0.1 * n, rails) for n in range(121)], Window(0, 12), images=1, idle=None)
    assert result["mean_w"] == pytest.approx(4.992), "a single rail may read a little below 0"


def test_no_rails_are_no_total():
    assert total_of([]) is None and total_of(["VDDQ_C"]) is None


def test_constant_power_costs_power_times_time_per_image_and_idle_is_taken_off():
    samples = steady(4000) + steady(10000, start=12.1, end=24.1)
    result = energy(samples, Window(12.1, 24.1), images=60, idle=Window(0, 12))
    assert result["gross_j_per_image"] == pytest.approx(10 * 12 / 60)
    assert result["net_j_per_image"] == pytest.approx((10 - 4) * 12 / 60)
    assert (result["rail"], result["rail_known"], result["why"]) == ("VDD_IN", True, None)


@given(st.floats(0.1, 50), st.floats(0.1, 50), st.integers(10, 100))
def test_a_straight_line_is_integrated_exactly(first, last, length):
    line = [(length * part / 10, first + (last - first) * part / 10) for part in range(11)]
    assert integral_j(line, Window(0, length)) == pytest.approx(length * (first + last) / 2)


def test_a_short_window_a_gap_and_a_silent_sensor_give_null_with_the_reason():
    short = energy(steady(4000), Window(0, 9.5), images=1, idle=None)
    gap = energy(steady(4000, end=4) + steady(4000, start=6), Window(0, 12), images=1, idle=None)
    ended = energy(steady(4000, end=8), Window(0, 12), images=1, idle=None)
    silent = energy([], Window(0, 12), images=1, idle=None)
    between = energy(steady(4000, end=4), Window(5, 5.5), images=1, idle=Window(6, 6.5), least_s=0.5)
    assert between["gross_j_per_image"] is None and "0.5 s" in between["why"]
    for found, why in (
        (short, "9.5 s"),
        (gap, "for 2.0 s"),
        (ended, "for 4.0 s"),
        (silent, "no power"),
    ):
        assert found["gross_j_per_image"] is None and found["net_j_per_image"] is None
        assert why in found["why"]


def test_without_a_usable_idle_window_only_gross_energy_is_there():
    result = energy(steady(4000), Window(0, 12), images=1, idle=Window(0, 2))
    assert result["gross_j_per_image"] == pytest.approx(48) and result["net_j_per_image"] is None


def test_a_sample_that_lacks_a_part_of_the_sum_is_left_out_and_counted():
    rails = {"VDD_GPU_SOC": 2000, "VDD_CPU_CV": 1000, "VIN_SYS_5V0": 3000}
    samples = [Sample(0.1 * number, rails) for number in range(121)]
    samples[50] = Sample(5.0, {"VDD_GPU_SOC": 2000})
    result = energy(samples, Window(0, 12), images=1, idle=None)
    assert result["mean_w"] == pytest.approx(6) and result["incomplete"] == 1 and result["samples"] == 120
    assert result["rails_w"]["VIN_SYS_5V0"] == pytest.approx(3)
