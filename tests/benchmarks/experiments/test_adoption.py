"""benchmarks.experiments.adoption: what is called right and wrong is so, and what the command answers is read. Adopts nothing."""

import argparse

import pytest

from benchmarks.experiments.adoption import cli, files, trials
from benchmarks.experiments.adoption.networks import NETWORKS
from benchmarks.experiments.adoption.report import commands_table, files_table, inputs_table
from export.adopting.cli import add_arguments, parsed
from export.adopting.comparison import same
from export.adopting.pixels import Pixels

REFUSED = """error[7] m.onnx: with rgb ImageNet, its mAP on data/anny_reid is 67.6 %, 22.8 points more than with the stated
bgr ImageNet (95 % interval 14.5 to 31.3); if the model was trained so, give --color rgb"""
CANDIDATES = [
    {"mAP": 0.6, "gain": 0.0, "low": 0.0, "high": 0.0},
    {"mAP": 0.5, "gain": -10.0, "low": -15.0, "high": -5.0},
]


def stated(words):
    parser = argparse.ArgumentParser()
    add_arguments(parser)
    return parsed(parser.parse_args(["m.onnx", *words])).options


@pytest.mark.parametrize("network", NETWORKS, ids=lambda network: network.name)
def test_the_right_input_is_that_of_the_network_and_the_wrong_ones_are_not(network):
    true = Pixels(network.color, network.spec.mean, network.spec.std)
    right = stated(network.right)
    assert same(right.pixels, true) and right.interpolation == network.spec.interpolation
    assert "colour order" in network.wrong and len(network.wrong) >= 2
    for words in network.wrong.values():
        assert not same(stated(words).pixels, true)


@pytest.mark.parametrize("words", files.FILES.values())
def test_every_precision_is_one_that_adopt_makes(words):
    assert stated([*NETWORKS[0].right, *words])


def test_the_answers_of_the_command_are_read():
    refused = trials.outcome(REFUSED, None)
    assert (refused["map"], refused["other_map"]) == (pytest.approx(0.448), pytest.approx(0.676))
    assert (refused["gain"], refused["low"], refused["high"], refused["warned"]) == (22.8, 14.5, 31.3, False)
    accepted = trials.outcome("adopted", {"candidates": CANDIDATES})
    assert (accepted["map"], accepted["other_map"], accepted["high"]) == (0.6, 0.5, -5)
    equal = trials.outcome("error[7] the features of different crops are\nnearly equal", None)
    assert equal["nearly_equal"] and equal["map"] is None
    assert trials.outcome("WARNING crops: has no labels", None)["warned"]


def test_the_tables_show_what_was_answered_and_measured():
    score = {"mAP": 0.5, "R1": 0.25}
    scores = {"anny_reid": score, "other": score, "bytes": 1_000_000}
    speed = {"batch": 1, "fp32_ms": 2.0, "int8_ms": 1.0, "interval_95": {"ratio": 2, "low": 1.5, "high": 2.5}}
    float_file = {"file": "fp32", "gate": {"cosine_min": 1}, "int8_groups": None, "groups": None} | scores
    int8_file = {"file": "int8", "gate": {"cosine_min": 0.9}, "int8_groups": 3, "groups": 4} | scores
    trial = {"case": "colour order", "check": "labelled", "exit_code": 7} | trials.outcome(REFUSED, None)
    model = {"name": "osnet_like", "original": scores, "trials": [trial], "files": [float_file, int8_file]}
    document = {"models": [model | {"latency": [speed], "consumers": {"extract fp32": 0}}]}
    (row,) = inputs_table(document)[1]
    assert row[1:] == [
        "wrong: colour order",
        "labelled",
        "44.8",
        "67.6",
        "+22.8 (+14.5 to +31.3)",
        "7, refused",
    ]
    assert [row[-1] for row in files_table(document)[1]] == ["-", "2.00", "1.00, 2.00 (1.50 to 2.50)"]
    assert files_table(document)[1][2][-2] == "3 of 4"
    assert commands_table(document)[1] == [["OSNet-like", "0"]]


def test_the_networks_can_be_chosen(tmp_path):
    words = ["--other", "x", "--work", str(tmp_path)]
    assert len(cli.parse(words).networks) == len(NETWORKS)
    assert cli.parse([*words, "--network", "resnet_like"]).networks == ("resnet_like",)
