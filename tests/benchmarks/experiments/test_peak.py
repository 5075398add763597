"""benchmarks.experiments.peak: the arithmetic of rates and shares, and what is refused. No test looks at a time."""

import json

import numpy as np
import pytest

from benchmarks.experiments import peak, products
from runtime.backends import openvino
from runtime.entry import guarded
from runtime.host import stopwatch
from tests.fakes.tiny_model import write_model

COUNTS = {"form": "folded", "macs": {"macs_folded": 3_000_000, "macs_reference": 9_000_000}}


@pytest.fixture
def clockless(monkeypatch):
    """Calls are run once; the products take 4 and 2 ms, the models 3 ms each."""

    def interleave(calls, *, rounds):
        for call in calls:
            call(0)
        times = [4.0, 2.0] + [3.0] * (len(calls) - 2)
        return [stopwatch.Samples(np.full(rounds, ms), np.full(rounds, ms)) for ms in times]

    monkeypatch.setattr(stopwatch, "interleave", interleave)


def document(capsys, *argv):
    assert peak.main([*map(str, argv), "--json"]) == 0
    return json.loads(capsys.readouterr().out)


def test_rates_are_of_the_deployed_form_and_shares_of_the_same_arithmetic(
    tmp_path, capsys, clockless, monkeypatch
):
    # a processor without BF16 computes in FP32 here, which takes the same invented time
    monkeypatch.setattr(openvino, "has_bf16", lambda core=None: True)
    plain = write_model(tmp_path / "m.onnx", manifest=COUNTS | {"precision": "fp32"})
    small = write_model(tmp_path / "m.int8.onnx", manifest=COUNTS | {"precision": "int8"})
    result = document(capsys, plain, small, f"{plain}@openvino-bf16", "--batch", "5", "--rounds", "2")
    side = 2 * 2048**3
    assert [product["gops"] for product in result["products"]] == pytest.approx(
        [side / 4e-3 / 1e9, side / 2e-3 / 1e9]
    )
    rate = 2 * 5 * 3_000_000 / 3e-3 / 1e9
    assert [row["gops"] for row in result["models"]] == pytest.approx([rate] * 3)
    shares = [row["share"] for row in result["models"]]
    assert shares[:2] == pytest.approx([rate / (side / 4e6), rate / (side / 2e6)])
    # there is no bf16 product to hold it against
    assert shares[2] is None and result["batch"] == 5


@pytest.mark.parametrize("precision", ["fp32", "int8"])
def test_the_products_are_right(tmp_path, monkeypatch, precision):
    monkeypatch.setattr(products, "SIDE", 8)
    got = products.product(tmp_path, precision, 1)(0)
    random = np.random.default_rng(0)
    x, weight = random.integers(0, 127, (8, 8)), random.integers(-127, 127, (8, 8))
    np.testing.assert_array_equal(got, x @ weight)


def test_it_really_runs(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(products, "SIDE", 64)
    model = write_model(tmp_path / "m.onnx", manifest=COUNTS | {"precision": "fp32"})
    assert peak.main([str(model), "--rounds", "2"]) == 0
    assert "relative to the product" in capsys.readouterr().out


def test_what_cannot_be_rated_is_refused_before_anything_runs(tmp_path, capsys):
    bare = write_model(tmp_path / "m.onnx")
    assert guarded(peak.main, [str(bare)]) == 4
    assert "multiply-adds" in capsys.readouterr().err
    assert guarded(peak.main, [str(tmp_path / "m.safetensors")]) == 2
    assert "only exported .onnx files" in capsys.readouterr().err
