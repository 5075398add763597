"""trtexec's printed output, read from texts in its documented form."""

from __future__ import annotations

from pathlib import Path

import pytest

from engines.trtexec.output import error_lines, parse, version_of

DATA = Path(__file__).resolve().parents[2] / "data" / "trtexec"


def text(name: str) -> str:
    return (DATA / f"{name}.txt").read_text()


@pytest.mark.parametrize(
    ("number", "version"),
    [
        (8601, (8, 6, 1)),
        (8503, (8, 5, 3)),
        (100300, (10, 3, 0)),
        (101602, (10, 16, 2)),
        (100001, (10, 0, 1)),
        (110401, (11, 4, 1)),
    ],
)
def test_the_version_number_counts_thousands_up_to_8_and_ten_thousands_from_10(
    number: int, version: tuple[int, ...]
) -> None:
    assert version_of(number) == version


def test_a_timed_run_gives_every_number_it_printed() -> None:
    report = parse(text("timed_8.6"))
    assert report.version == (8, 6, 2) and report.passed is True
    assert (report.gpu, report.compute_capability) == ("Orin", "8.7")
    assert report.throughput_qps == 130.298
    assert report.latency is not None and report.latency.median == 7.16092
    assert report.latency.percentiles == {90.0: 10.2996, 95.0: 10.8698, 99.0: 12.9675}
    assert report.enqueue is not None and report.enqueue.mean == 7.63062
    assert report.h2d is not None and report.h2d.max == 0.0698242
    assert report.gpu_compute is not None and report.gpu_compute.min == 5.34595
    assert report.d2h is not None and report.d2h.percentiles[95.0] == 0.0319824


def test_throughput_counts_queries_so_images_are_batch_times_more() -> None:
    report = parse(text("timed_8.6"))
    assert report.images_per_s(1) == pytest.approx(130.298)
    assert report.images_per_s(8) == pytest.approx(1042.384)
    assert parse(text("built_10.16")).images_per_s(8) is None


def test_both_doubts_are_told() -> None:
    report = parse(text("timed_8.6"))
    assert report.enqueue_bound and report.unstable_percent == 5.55763


def test_a_calm_run_tells_no_doubt() -> None:
    report = parse(text("timed_11.1"))
    assert not report.enqueue_bound and report.unstable_percent is None


def test_a_graph_that_the_engine_does_not_allow_is_told() -> None:
    warning = (
        "[11/02/2026-10:00:01] [W] The built TensorRT engine contains operations that are not permitted under "
        "CUDA graph capture mode.\n"
    )
    assert parse(warning + text("timed_8.6")).graph_refused and not parse(text("timed_8.6")).graph_refused


@pytest.mark.parametrize("bad", ["7,16092", "x", "-nan", "nan", "inf", "7.1.6", "", "9" * 5000, "-1"])
def test_a_number_that_is_none_is_not_there_and_stops_nothing(bad: str) -> None:
    good = text("timed_8.6")
    for number in ("7.16092", "130.298", "5.55763", "8602"):
        report = parse(good.replace(number, bad))
        assert report.gpu == "Orin"
    assert parse(good.replace("7.16092", bad)).latency is None
    assert parse(good.replace("130.298", bad)).throughput_qps is None


def test_11_without_transfers_has_no_copies_and_any_percentile() -> None:
    report = parse(text("timed_11.1"))
    assert report.version == (11, 1, 0) and report.h2d is None and report.d2h is None
    assert report.latency is not None and set(report.latency.percentiles) == {90.0, 95.0, 99.9}


def test_8_2_prints_only_the_99th_and_an_end_to_end_line_that_is_no_latency() -> None:
    report = parse(text("timed_8.2"))
    assert report.latency is not None
    assert report.latency.percentiles == {99.0: 1.55853} and report.latency.mean == 1.38629


def test_a_build_without_a_run_has_a_version_a_gpu_and_no_times() -> None:
    report = parse(text("built_10.16"))
    assert report.version == (10, 16, 2) and report.passed is True and report.errors == ()
    assert (report.gpu, report.compute_capability) == ("NVIDIA GeForce RTX 3070", "8.6")
    assert report.latency is None and report.gpu_compute is None and report.throughput_qps is None


def test_a_parser_failure_is_the_node_and_the_reason_not_the_chain_behind_it() -> None:
    report = parse(text("failed_parse_10.3"))
    assert report.passed is False
    assert len(report.errors) == 2
    assert report.errors[0].endswith('While parsing node number 146 [Tile -> "/Tile_output_0"]:')
    assert "Invalid Node - /Tile" in report.errors[1]
    assert "IIOneHotLayer cannot be used to compute a shape tensor" in report.errors[1]


def test_an_unknown_option_is_named() -> None:
    assert parse(text("failed_option_11.1")).errors == ("Unknown option: --fp16",)


def test_a_repeated_error_is_told_once() -> None:
    errors = parse(text("failed_memory_10.3")).errors
    assert len(errors) == 1 and "OutOfMemory" in errors[0]


def test_a_missing_library_is_the_error_of_a_program_that_never_started() -> None:
    report = parse(text("failed_loader"))
    assert report.version is None and report.passed is None
    assert "libnvinfer.so.10" in report.errors[0]


def test_the_chain_is_told_when_nothing_else_was_said() -> None:
    assert error_lines("[E] Engine set up failed\n") == ("Engine set up failed",)


def test_without_any_mark_the_last_lines_are_told() -> None:
    assert error_lines("one\ntwo\n\nthree\nfour\n") == ("two", "three", "four")


def test_a_cut_off_run_has_no_verdict() -> None:
    whole = text("timed_8.6")
    report = parse(whole[: whole.index("&&&& PASSED")])
    assert report.passed is None and report.version == (8, 6, 2)


@pytest.mark.parametrize("name", sorted(path.stem for path in DATA.glob("*.txt")))
def test_any_beginning_of_an_output_is_read_without_an_exception(name: str) -> None:
    whole = text(name)
    for length in range(0, len(whole), 61):
        report = parse(whole[:length])
        if "&&&& PASSED" not in whole[:length]:
            assert report.passed is not True
