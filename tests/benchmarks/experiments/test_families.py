"""The tables of the families of checkpoints, from a made-up result, and which results a later run keeps."""

import json

import pytest

from benchmarks.experiments.families.cli import parse
from benchmarks.experiments.families.report import costs_table, counts_table, gates_table
from benchmarks.experiments.families.trial import CASES, configuration, counted, earlier
from prune.config.load import load_config
from prune.model.flops import macs_folded
from prune.scoring.spread import spread
from runtime.errors import ConfigError

MACS = {"macs_paper": 3.1e9, "macs_reference": 3e9, "macs_folded": 2e9, "params": 22_000_000}
PASSED = {"passed": True, "cosine_min": 0.9999, "difference_max": 1e-3, "top1": 1.0}
MODEL = {
    "name": "vit",
    "title": "ViT-S",
    "training": {"steps": 29, "first": 5.5, "last": 4.25},
    "macs": {"unpruned": MACS, "pruned": {key: value / 2 for key, value in MACS.items()}},
    "gates": {
        f"{form}.{kind}": PASSED for form in ("unpruned", "pruned") for kind in ("fp32", "fp16", "int8")
    }
    | {"pruned.int8": {"passed": False}},
    "latency": {"unpruned.fp32": 80.0, "pruned.fp32": 60.04, "unpruned.int8": 50.0},
    "engines": {"unpruned": {"seconds": 1.0, "peak_mib": 100, "bytes": 3 * 2**20}, "pruned": None},
}


def test_the_tables_show_both_forms_and_what_a_gate_refused():
    document = {"models": [MODEL]}
    names, (costs,) = costs_table(document)
    assert len(names) == len(costs)
    counts = ["ViT-S", "3.10 → 1.55", "3.00 → 1.50", "2.00 → 1.00", "22.0 → 11.0"]
    assert costs == ["ViT-S", "2.00 → 1.00", "80.0 → 60.0", "50.0 → –", "3 MiB → –", "1 → –"]
    names, rows = counts_table(document)
    assert rows == [counts] and len(names) == len(counts)
    names, (gates,) = gates_table(document)
    assert len(names) == len(gates)
    assert gates[1] == "5.50 → 4.25" and gates[4] == "0.9999000 / refused" and gates[5] == "1.000"


def test_earlier_results_are_kept_and_another_file_is_refused(tmp_path):
    assert earlier(tmp_path / "none.json") == []
    (tmp_path / "r.json").write_text(json.dumps({"models": [MODEL]}))
    assert earlier(tmp_path / "r.json") == [MODEL]
    (tmp_path / "other.json").write_text("[1]")
    with pytest.raises(ConfigError, match=r"other\.json"):
        earlier(tmp_path / "other.json")


def test_one_family_can_be_chosen():
    options = parse(["--work", "w", "--out", "r.json", "--family", "ics", "--family", "vit"])
    assert [case.name for case in options.cases] == ["vit", "ics"] and options.engines


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_every_case_is_a_model_that_loses_a_quarter_of_its_heads_and_tokens(case, tmp_path):
    (tmp_path / "c.yaml").write_text(json.dumps(configuration(case)))
    architecture = spread(load_config(tmp_path / "c.yaml"))
    macs = counted(case)["macs"]
    assert macs["pruned"]["macs_folded"] == macs_folded(architecture) < macs["unpruned"]["macs_folded"]
    heads, patches = architecture.vit.heads, architecture.patches
    cut = sum(heads - len(block.heads) for block in architecture.blocks)
    assert cut == int(heads * architecture.prunable * 0.25)
    assert sum(architecture.tokens - len(block.tokens) for block in architecture.blocks) == int(
        patches * architecture.prunable * 0.25
    )
