"""Every published form of tegrastats' line against values read by eye, and lines that something cut or broke."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmarks.device.power.tegrastats import Record, parse

FOLDER = Path(__file__).resolve().parents[3] / "data/jetson"
READ_BY_EYE = {
    "nano_jp4": Record(
        ram_mb=(330, 3964),
        swap_mb=(0, 1982),
        cores=((3, 102), None, None, (1, 102)),
        gpu_percent=41,
        emc_percent=0,
        temperatures_c={"PLL": 20.5, "CPU": 23.0},
        rails_mw={"POM_5V_IN": 933, "POM_5V_GPU": 0, "POM_5V_CPU": 84},
    ),
    "xavier_jp4": Record(
        ram_mb=(14700, 15692),
        swap_mb=(898, 8192),
        cores=((0, 1190), (0, 1190)),
        gpu_percent=0,
        emc_percent=0,
        temperatures_c={"AO": 30.0, "GPU": 30.5, "PMIC": 100.0},
        rails_mw={"GPU": 463, "CPU": 618, "SOC": 2936, "CV": 0, "VDDRQ": 309, "SYS5V": 3306},
    ),
    "agx_jp6": Record(
        ram_mb=(4321, 62801),
        gpu_percent=0,
        gpu_mhz=(0, 0),
        emc_percent=0,
        emc_mhz=2133,
        temperatures_c={"CPU": 44.562, "tj": 44.343},
        rails_mw={"VDD_GPU_SOC": 2340, "VDD_CPU_CV": 390, "VIN_SYS_5V0": 4025, "VDDQ_VDD2_1V8AO": 301},
    ),
    "nano_jp6": Record(
        ram_mb=(6982, 7620),
        gpu_percent=84,
        gpu_mhz=(713,),
        temperatures_c={"cv0": 63.031, "gpu": 63.5, "tj": 65.562},
        rails_mw={"VDD_IN": 17946, "VDD_CPU_GPU_CV": 8896, "VDD_SOC": 3923},
    ),
    "agx_jp7.2": Record(
        ram_mb=(20642, 62817),
        gpu_percent=12,
        gpu_mhz=(1300, 1300),
        temperatures_c={"cpu": 52.968, "gpu": 47.625},
        rails_mw={"VDD_GPU_SOC": 5139, "VDD_CPU_CV": 3268, "VIN_SYS_5V0": 5500},
    ),
    "thor_jp7": Record(
        ram_mb=(4722, 7844), gpu_percent=None, gpu_mhz=(1000, 1000, 1000), emc_percent=2, emc_mhz=1866
    ),
}


def published(name: str) -> str:
    return (FOLDER / f"tegrastats_{name}.txt").read_text()


@pytest.mark.parametrize("name", READ_BY_EYE)
def test_a_published_line_gives_what_a_person_reads_in_it(name):
    assert parse(published(name)) == READ_BY_EYE[name]


def test_every_published_line_is_read_here():
    assert {path.stem for path in FOLDER.glob("*.txt")} == {f"tegrastats_{name}" for name in READ_BY_EYE}


def test_a_rail_that_nobody_knows_is_kept_and_unconnected_channels_are_not():
    record = parse("RAM 1/2MB VDD_NEW_7 12mW/13mW NC 5mW/5mW IRAM 0/252kB\n")
    assert record.rails_mw == {"VDD_NEW_7": 12}


@pytest.mark.parametrize("name", READ_BY_EYE)
def test_a_line_cut_off_anywhere_never_gives_a_value_that_the_whole_line_does_not(name):
    whole = parse(published(name))
    for length in range(len(published(name))):
        for key, value in vars(parse(published(name)[:length]) or Record()).items():
            full = getattr(whole, key)
            if isinstance(value, dict):
                assert value.items() <= full.items(), (length, key)
            else:
                assert value in (full, None, ()), (length, key)


LISTS = {
    # Thor: one clock behind the list of all cores, and one core off
    "RAM 3429/125749MB (lfb 120x4MB) CPU [0%,5%,off]@2601 EMC_FREQ @4266 VIN 28906mW/14453mW/28906mW\n": {
        "cores": ((0, 2601), (5, 2601), None),
        "emc_mhz": 4266,
        "rails_mw": {"VIN": 28906},
    },
    # a cluster of the GPU that is off keeps its place
    "RAM 1/2MB (lfb 1x2MB) GR3D_FREQ @[300,off,600] EMC_FREQ 0% VDD_IN 5000mW/5000mW\n": {
        "gpu_mhz": (300, None, 600),
        "emc_percent": 0,
        "rails_mw": {"VDD_IN": 5000},
    },
    "CPU [1%@1190,off,7%] GR3D_FREQ 5%@[off,off] EMC_FREQ 3%@off APE 150\n": {
        "cores": ((1, 1190), None, (7, None)),
        "gpu_percent": 5,
        "gpu_mhz": (None, None),
        "emc_percent": 3,
    },
    "CPU [off,off] GR3D_FREQ 7%@[300, N/A] APE 150\n": {
        "cores": (None, None),
        "gpu_percent": 7,
        "gpu_mhz": (300, None),
    },
    "GR3D_FREQ off EMC_FREQ off APE 150 VDD_IN 5mW/5mW\n": {"rails_mw": {"VDD_IN": 5}},
    "GR3D_FREQ 9%@off CPU [3%@102] APE 150\n": {"gpu_percent": 9, "cores": ((3, 102),)},
}


@pytest.mark.parametrize("line", LISTS)
def test_what_is_off_keeps_its_place_in_a_list_and_takes_nothing_else_with_it(line):
    record = vars(parse(line))
    read = {key: value for key, value in record.items() if key != "ram_mb" and value not in (None, (), {})}
    assert read == LISTS[line]


@pytest.mark.parametrize("line", LISTS)
def test_such_a_line_cut_off_anywhere_gives_no_other_value(line):
    whole = parse(line)
    for length in range(len(line)):
        for key, value in vars(parse(line[:length]) or Record()).items():
            full = getattr(whole, key)
            good = value.items() <= full.items() if isinstance(value, dict) else value in (full, None, ())
            assert good, (length, key)


@given(st.sampled_from(sorted(READ_BY_EYE)), st.integers(0, 400), st.text(max_size=12))
def test_garbage_in_the_middle_of_a_line_raises_nothing(name, at, garbage):
    text = published(name)
    parse(text[:at] + garbage + text[at:])


@given(st.text())
def test_any_text_is_a_record_or_nothing(text):
    assert parse(text) is None or isinstance(parse(text), Record)


@pytest.mark.parametrize("name", ["RAM", "VDD_IN", "gpu@", "GR3D_FREQ "])
def test_a_number_of_absurd_length_is_no_number_and_stops_nothing(name):
    digits = "9" * 5000
    lines = {"RAM": f"RAM {digits}/{digits}MB", "VDD_IN": f"VDD_IN {digits}mW/1mW", "gpu@": f"gpu@{digits}C"}
    assert parse(f"{lines.get(name, f'GR3D_FREQ 5%@[{digits}]')} \n") in (
        None,
        Record(gpu_percent=5, gpu_mhz=(None,)),
    )
    assert parse("CPU [" * 100_000) is None, "nor does a line that takes a minute to search"


@pytest.mark.parametrize(
    "text", ["", "\n", "tegrastats: command not found\n", "RAM 6982/76", "VDD_IN 17946mW"]
)
def test_what_holds_nothing_of_tegrastats_is_no_record(text):
    assert parse(text) is None
