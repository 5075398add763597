"""The comparison beyond AMG: budgets, recipes, intervals, the chart, and a run on four identities."""

import json
import xml.etree.ElementTree as ElementTree

import pytest

from benchmarks.study import plan
from benchmarks.study.beyond import cli, run
from benchmarks.study.beyond.chart import chart, chart_points
from benchmarks.study.beyond.recipes import LEVELS, RECIPES, method_title, waves
from benchmarks.study.beyond.report import markdown
from benchmarks.study.beyond.run import finished_jobs, gather
from benchmarks.study.beyond.trials import beyond_settings, model_path, prune_by_recipe, run_trial
from benchmarks.study.context import open_context, study_fingerprint
from benchmarks.study.plan import METHODS, TOLERANCE, Trial
from benchmarks.study.trials import Job, prune_to_budget
from prune.model.file import load_model
from prune.model.flops import macs_folded
from runtime.entry import guarded
from runtime.errors import ConfigError
from tests.benchmarks.study import test_cli as study_tests
from tests.fakes import lite

project = study_tests.project


def test_amg_sets_the_budget_and_runs_first():
    first, rest = waves(["mix", "amg", "random"], ["h40_t40"], [1, 2])
    assert [trial.name for trial in first] == ["teacher", "amg-h40_t40-1", "amg-h40_t40-2"]
    assert [trial.name for trial in rest] == [
        f"{method}-h40_t40-{seed}" for seed in (1, 2) for method in ("mix", "random")
    ]


@pytest.mark.parametrize(
    ("methods", "levels", "seeds", "message"),
    [(["best"], [], [1], "method best"), ([], ["h1"], [1], "level h1"), ([], [], [0], "--seeds")],
)
def test_a_wrong_plan_is_refused(methods, levels, seeds, message):
    with pytest.raises(ConfigError, match=message):
        waves(methods, levels, seeds)


def test_levels_and_methods_of_the_study_have_the_same_settings_here():
    config = study_tests.config_of(study_tests.CONFIG)
    for level in plan.LEVELS:
        for method in ("amg", "random"):
            trial = Trial(method, level, 2)
            assert beyond_settings(config, trial) == study_tests.trial_settings(config, trial)
    assert beyond_settings(config, Trial("teacher")) == study_tests.trial_settings(config, Trial("teacher"))
    between = beyond_settings(config, Trial("mix", "h33_t33", 3)).prune
    assert (between.heads.fraction, between.tokens.fraction, between.seed) == (0.33, 0.33, 3)


def test_every_method_has_a_title():
    assert method_title("teacher") == "teacher" and method_title("random") == METHODS["random"].title
    assert len({method_title(name) for name in RECIPES}) == len(RECIPES)


@pytest.mark.parametrize("method", sorted(RECIPES))
def test_a_recipe_meets_amgs_cost_by_what_it_names(method):
    config, recipe = study_tests.config_of(study_tests.CONFIG), RECIPES[method]
    model, batch = lite.model(), lite.batch()
    settings = beyond_settings(config, Trial(method, "h25_t25", 1)).prune
    amg, _ = prune_to_budget(model, settings, lambda: [batch], study_tests.mean_feature, target=None)
    job = Job(None, Trial(method, "h25_t25", 1), {})
    target = macs_folded(amg.architecture)
    thinned, budget = prune_by_recipe(
        model, recipe, job, settings, lambda: [batch], study_tests.mean_feature, target=target
    )
    architecture = thinned.architecture
    gap = abs(macs_folded(architecture) - target) / target
    assert budget["reached"] == (gap <= TOLERANCE) and budget["macs_folded"] == macs_folded(architecture)
    # whole blocks are too coarse a measure to meet a budget
    assert budget["reached"] or method == "blocks"
    assert architecture.prunable - architecture.present_blocks == recipe.blocks[0]
    assert (
        sum(len(block.heads) < 6 for block in architecture.blocks if not block.removed) * (recipe.heads == 0)
        == 0
    )
    narrow = [hidden for hidden in architecture.hidden if 0 < hidden < 768]
    assert bool(narrow) == (recipe.match == "neurons")
    if recipe.within == "block":
        assert len(set(architecture.hidden)) == 1
    pruned = any(
        len(block.tokens) < architecture.tokens for block in architecture.blocks if not block.removed
    )
    assert pruned == (recipe.tokens > 0 or recipe.match == "tokens")


def line(method, level="", seed=0, *, score=0.8, share=0.7):
    record = {"method": method, "level": level, "seed": seed, "params": 9, "heads": [6], "tokens": [5]}
    record |= {
        "hidden": [7],
        "macs": {"macs_folded": 100},
        "precisions": [score, score],
        "firsts": [1.0, 0.0],
    }
    if method == "teacher":
        return record
    time = {"of_teacher": share, "wall_of_teacher": share, "teacher_ms": 4.0}
    return record | {
        "untuned": {"mAP": score - 0.1}, "budget": {"reached": True}, "time": time, "predicted": None,
    }  # fmt: skip


def document():
    lines = [line("teacher", score=0.9)]
    amg = [line("amg", level, seed, score=0.8) for level in LEVELS for seed in (1, 2)]
    mix = [line("mix", level, seed, score=0.84, share=0.65) for level in LEVELS for seed in (1, 2)]
    groups = [run.group(lines, [], [])]
    for trials in (amg, mix):
        for level in LEVELS:
            of_level = [trial for trial in trials if trial["level"] == level]
            theirs, mild = ([trial for trial in amg if trial["level"] == name] for name in (level, "h25_t25"))
            groups.append(run.group(of_level, theirs, mild))
    return {"groups": groups, "teacher_ms": 4.0, "label": "people"}


def test_a_group_is_compared_with_amg_and_amg_not_with_itself():
    groups = {(row["method"], row["level"]): row for row in document()["groups"]}
    group = groups["mix", "h25_t25"]
    assert group["against_amg"]["difference"] == pytest.approx(0.04)
    assert group["against_amg"]["speed"] == pytest.approx(0.7 / 0.65)
    # the same gap at every query: nothing is uncertain
    assert (group["against_amg"]["low"], group["against_amg"]["high"]) == pytest.approx((0.04, 0.04))
    assert "against_amg" not in groups["amg", "h25_t25"] and "of_teacher" not in groups["teacher", ""]


def test_the_chart_shows_every_seed_on_the_teachers_scale():
    search = {
        "whole_ms": 10.0,
        "groups": [
            {"name": "AMG, h25/t25 everywhere", "runs": [{"measured_ms": 5.0, "mAP": 0.5}]},
            {"name": "heads, tokens searched, as fast", "runs": [{"measured_ms": 8.0, "mAP": 0.85}]},
            {"name": "heads, tokens searched, faster", "runs": [{"measured_ms": 7.0, "mAP": 0.83}]},
        ],
    }
    points = chart_points(document(), search)
    assert points["mix"][1][0].ms == pytest.approx([2.6, 2.6]) and len(points["mix"][1]) == 3
    # a tenth of another whole model's time is a tenth of this one's
    assert [spot.ms for spot in points["heads, tokens searched"][1]] == [
        pytest.approx((3.2,)),
        pytest.approx((2.8,)),
    ]
    assert "60.0 %" not in chart(document(), search)
    root = ElementTree.fromstring(chart(document(), search))
    titles = [node.text for node in root.iter() if node.tag.endswith("title")]
    assert titles.count("84.0 %, 2.60 ms") == 6 and len(titles) == 1 + 6 + 6 + 2


def test_random_pruning_does_not_squeeze_the_others_together():
    far = document()
    far["groups"].append(run.group([line("random", "h25_t25", 1, score=0.4)], [], []))
    drawn = chart(far)
    assert "40.0 %" in drawn and ">40 %<" not in drawn and ">80 %<" in drawn


def test_the_table_has_a_row_per_group():
    rows = markdown(document()).splitlines()
    assert len(rows) == 2 + 7 and "84.0 ± 0.0" in rows[-1] and "+4.0 (+4.0 .. +4.0) | 1.08" in rows[-1]


@pytest.fixture(scope="module")
def made(project):
    """AMG, the mix and the blocks at one level, made in this process."""
    options = study_tests.options_of(project, out=str(project / "beyond"), others=())
    fingerprint = study_fingerprint(options)
    trials = [Trial("teacher"), *(Trial(name, "h25_t25", 1) for name in ("amg", "mix", "blocks"))]
    jobs = [Job(options, trial, fingerprint) for trial in trials]
    assert [run_trial(job) for job in jobs] == [job.trial.name for job in jobs]
    open_context.cache_clear()
    return jobs


def test_trials_keep_their_models_and_meet_the_budget(made, project):
    record_of = {job.trial.method: json.loads(job.path.read_text()) for job in made}
    target = record_of["amg"]["macs"]["macs_folded"]
    assert record_of["mix"]["budget"]["target"] == record_of["blocks"]["budget"]["target"] == target
    for job in made:
        architecture = load_model(model_path(job))[0].architecture
        assert macs_folded(architecture) == record_of[job.trial.method]["macs"]["macs_folded"]
        assert list(architecture.hidden) == record_of[job.trial.method]["hidden"]
    assert record_of["teacher"]["hidden"] == [768] * 7 and sum(record_of["mix"]["hidden"]) < 7 * 768
    assert len(record_of["mix"]["precisions"]) == 4


def test_a_result_summarises_the_trials_with_the_same_fingerprint(made, project, monkeypatch):
    options, fingerprint, out = made[0].options, made[0].fingerprint, project / "beyond"
    (out / "cells" / "other-study-h25_t25-1.json").write_text(json.dumps({"asked": {}}))
    jobs = finished_jobs(out, options, fingerprint)
    assert {job.trial for job in jobs} == {job.trial for job in made}
    monkeypatch.setattr(run, "export_model", lambda job: job)
    monkeypatch.setattr(run, "model_call", lambda path, *rest: lambda turn: sum(range(20_000)))
    for job in jobs:
        if job.trial.method != "teacher":
            assert run.measure_time(job, 3, again=False)["rounds"] == 3
    result = gather(out, jobs, None)
    assert [group["method"] for group in result["groups"]] == ["teacher", "amg", "mix", "blocks"]
    assert not result["groups"][-1]["equal_budget"] and result["groups"][1]["equal_budget"]
    json.dumps(result, allow_nan=False)
    assert str(project) not in json.dumps(result)
    ElementTree.fromstring(chart(result))


def test_a_mistake_is_one_line(project, capsys):
    words = [f"--{name}={project / path}" for name, path in (
        ("weights", "model.safetensors"), ("config", "config.yaml"), ("data", "data"), ("out", "none"),
    )]  # fmt: skip
    assert guarded(cli.main, [*words, "--methods=best"]) == 2
    message = capsys.readouterr().err
    assert "method best" in message and "mlp_even" in message
