"""The comparison of pruning methods: budgets, arithmetic by hand, tokens on people, and a run on four identities."""

import dataclasses
import json
import re
import tempfile
import xml.etree.ElementTree as ElementTree
from math import sqrt

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from PIL import Image

from benchmarks.study import cli as study
from benchmarks.study.chart import chart
from benchmarks.study.context import open_context, study_fingerprint
from benchmarks.study.options import StudyOptions
from benchmarks.study.plan import LEVELS, METHODS, TOLERANCE, Trial, nearest_count, waves
from benchmarks.study.report import markdown
from benchmarks.study.results import line_fit, occlusion, separation, spread, summarise
from benchmarks.study.scores import FeatureSet, other_scores, own_scores
from benchmarks.study.tokens import person_tokens, shares
from benchmarks.study.trials import Job, finished, prune_to_budget, run_trial, trial_settings
from prune.config.load import load_config
from prune.model.file import save_model
from prune.model.flops import macs_folded
from prune.scoring.amg import prune_model
from runtime.entry import guarded
from runtime.errors import ConfigError
from tests.fakes import lite

CONFIG = """
model: {variant: vit_lite, size: [64, 32], stride: 8, cameras: 3, drop_path: 0}
data: {layout: anny}
prune: {tokens: {floor: 3}, batches: 1, identities: 2, images: 2}
train:
  optimizer: adamw
  lr: 1e-4
  identities: 2
  images: 2
  workers: 1
  warmup_epochs: 0
  final_epochs: 1
  distill: {type: soft}
"""


def config_of(text):
    with tempfile.NamedTemporaryFile("w", suffix=".yaml") as file:
        file.write(text)
        file.flush()
        return load_config(file.name)


def mean_feature(model, images, labels, camera_ids):
    return model(images, camera_ids).square().mean()


# the plan


def test_amg_always_runs_and_runs_before_the_trials_whose_budget_it_sets():
    first, second = waves(["random", "magnitude"], [1, 2])
    assert [trial.name for trial in first[:3]] == ["teacher", "tuned-1", "tuned-2"]
    assert {trial.method for trial in first[3:]} == {"amg"} and len(first) == 3 + 2 * len(LEVELS)
    assert {trial.name for trial in second} == {
        f"{method}-{level}-{seed}"
        for method in ("random", "magnitude")
        for level in LEVELS
        for seed in (1, 2)
    }
    every, rest = waves(list(METHODS), [1, 2, 3])
    names = [trial.name for trial in every + rest]
    assert len(set(names)) == len(names) == 1 + 3 + 7 * 2 * 3


@pytest.mark.parametrize(("methods", "seeds"), [(["best"], [1]), ([], []), ([], [1, 1]), ([], [0])])
def test_a_wrong_plan_is_refused(methods, seeds):
    with pytest.raises(ConfigError, match="--methods: .* best|--seeds"):
        waves(methods, seeds)


@given(st.lists(st.integers(0, 1000), min_size=1, max_size=40), st.integers(0, 1000))
def test_the_matched_count_is_the_nearest_of_all(costs, target):
    costs = sorted(costs, reverse=True)
    count = nearest_count(costs.__getitem__, target, len(costs) - 1)
    assert abs(costs[count] - target) == min(abs(cost - target) for cost in costs)


@settings(max_examples=8, deadline=None)
@given(
    st.sampled_from(sorted(set(METHODS) - {"amg", "amg_kv"})),
    st.sampled_from(sorted(LEVELS)),
    st.integers(1, 50),
)
@example("random_heads", "h40_t40", 26)
def test_every_method_meets_amgs_budget_with_as_many_heads(method, level, seed):
    config = config_of(CONFIG)
    # With stride 5 there are 40 patches. One token then costs about 0.6 % of the budget, so the tolerance can always be met.
    model, batch = lite.model(seed, stride=5), lite.batch(seed=seed)
    amg, budget = pruned_trial(config, Trial("amg", level, seed), model, batch, None)
    ours, met = pruned_trial(config, Trial(method, level, seed), model, batch, budget["macs_folded"])
    assert (
        met["reached"]
        and abs(macs_folded(ours.architecture) / macs_folded(amg.architecture) - 1) <= TOLERANCE
    )
    assert heads(ours) == heads(amg) == 7 * 6 - met["heads"]
    assert met["tokens"] == 7 * model.architecture.tokens - sum(
        len(block.tokens) for block in ours.architecture.blocks
    )


def test_amgs_trial_is_what_prune_py_prunes():
    config = config_of(CONFIG)
    model, batch = lite.model(), lite.batch()
    pruned_model, budget = pruned_trial(config, Trial("amg", "h25_t25", 1), model, batch, None)
    prune = trial_settings(config, Trial("amg", "h25_t25", 1)).prune
    expected, _ = prune_model(model, prune, lambda: [batch], mean_feature, lambda pruned, last: pruned)
    assert (
        pruned_model.architecture == expected.architecture and budget["target"] is None and budget["reached"]
    )


def test_a_budget_out_of_reach_is_recorded_and_the_methods_own_fraction_is_removed():
    config = config_of(CONFIG)
    model, batch = lite.model(), lite.batch()
    _, budget = pruned_trial(config, Trial("amg", "h25_t25", 1), model, batch, None)
    _, met = pruned_trial(config, Trial("amg_kv", "h25_t25", 1), model, batch, budget["macs_folded"])
    assert not met["reached"] and met["macs_folded"] > 1.005 * budget["macs_folded"]
    assert met["tokens"] == budget["tokens"] == int(0.25 * 21 * 7)


def test_a_seed_governs_scoring_random_choices_and_tuning():
    config = config_of(CONFIG)
    trial_config = trial_settings(config, Trial("class_attention", "h40_t40", 3))
    assert (trial_config.prune.seed, trial_config.train.seed) == (3, 3)
    assert (trial_config.prune.heads.by, trial_config.prune.tokens.by) == ("entropy", "class_attention")
    assert (trial_config.prune.heads.fraction, trial_config.prune.tokens.fraction) == (0.4, 0.4)
    assert trial_settings(config, Trial("teacher")).prune == config.prune


def pruned_trial(config, trial, model, batch, target):
    prune = trial_settings(config, trial).prune
    return prune_to_budget(model, prune, lambda: [batch], mean_feature, target=target)


def heads(model):
    return sum(len(block.heads) for block in model.architecture.blocks)


# arithmetic


def test_the_verdict_by_hand():
    # means 0.62 and 0.60; squares 2e-4 and 2e-4 over 2 + 2 degrees of freedom
    verdict = separation([0.61, 0.62, 0.63], [0.59, 0.60, 0.61])
    assert verdict["difference"] == pytest.approx(0.02)
    assert verdict["pooled_sd"] == pytest.approx(0.01)
    assert separation([0.6301, 0.62, 0.64], [0.59, 0.60, 0.61])["separated"] is True
    assert separation([0.609, 0.619, 0.629], [0.59, 0.60, 0.61])["separated"] is False
    # below it, however far, nothing is separated in AMG's favour
    assert separation([0.1, 0.1001], [0.9, 0.9001])["separated"] is False


def test_unequal_samples_are_pooled_by_their_degrees_of_freedom():
    # squares: (1 + 1) / and (4 + 0 + 4): 10 over 1 + 2
    assert separation([1.0, 3.0], [0.0, 2.0, 4.0])["pooled_sd"] == pytest.approx(sqrt((2 + 8) / 3))


def test_one_seed_gives_no_verdict():
    assert separation([0.9], [0.1, 0.2]) == {
        "difference": pytest.approx(0.75),
        "pooled_sd": None,
        "separated": None,
    }
    assert spread([0.5]) == {"mean": 0.5, "sd": None, "values": [0.5]}
    assert spread([1.0, 2.0, 3.0])["sd"] == 1.0


def test_the_slope_and_its_error_are_those_of_least_squares():
    random = np.random.default_rng(0)
    across, up = random.random(30), random.random(30)
    (slope, _), covariance = np.polyfit(across, up, 1, cov=True)
    fit = line_fit(across.tolist(), up.tolist())
    assert (fit["slope"], fit["error"]) == pytest.approx((slope, covariance[0, 0] ** 0.5))
    assert line_fit([1, 1, 1], [1, 2, 3]) == {"slope": None, "error": None}


def line(method, level="", seed=0, *, query=(0.5, 0.5, 0.5, 0.5), twins=(0.8, 0.8, 0.8, 0.8), reached=True):
    """A record as run_trial writes it, of four queries that hide 60, 50, 40 and 30 % of the person."""

    def side(values):
        precisions = list(values)
        return {"mAP": sum(precisions) / 4, "R1": 0.25, "queries": 4, "precisions": precisions}

    bins = [{"low": 0.4, "high": 0.6, "queries": 2, "mAP": (query[0] + query[1]) / 2, "R1": 0.5}]
    other = {"test": {"mAP": 0.3, "R1": 0.4, "queries": 7}}
    person = {"query": {"all": 0.4, "kept": [0.5, 0.7], "person_kept": [0.9, 0.8]}}
    record = {
        "method": method,
        "level": level,
        "seed": seed,
        "asked": {},
        "visible": [0.4, 0.5, 0.6, 0.7],
        "macs": {"macs_folded": 123_000_000},
        "heads": [6, 5],
        "tokens": [51, 40],
        "seconds": 3.0,
        "scores": {"query": side(query) | {"visible": bins}, "twins": side(twins), "person": person}
        | {"others": {"street": other}},
    }
    if level:
        record |= {"budget": {"reached": reached}, "untuned": {"mAP": 0.1, "R1": 0.2, "queries": 4}}
    return record


def test_the_loss_under_occlusion_by_hand():
    reference = [line("teacher", query=(0.5, 0.5, 0.5, 0.5), twins=(0.9, 0.9, 0.9, 0.9))]
    # loses 0.4, 0.3, 0.2, 0.1 where 0.6, 0.5, 0.4, 0.3 is hidden: slope 1; twins lose 0.05
    worse = line("amg", "h25_t25", 1, query=(0.1, 0.2, 0.3, 0.4), twins=(0.85, 0.85, 0.85, 0.85))
    losses = occlusion(reference, [worse])
    assert (losses["query"], losses["twins"], losses["more"]["mean"]) == pytest.approx((0.25, 0.05, 0.20))
    assert losses["slope"] == pytest.approx(1) and losses["grows"]
    # half as much, from a second seed that loses nothing
    two = occlusion(reference, [worse, line("amg", "h25_t25", 2, twins=(0.9, 0.9, 0.9, 0.9))])
    assert two["query"] == pytest.approx(0.125) and two["slope"] == pytest.approx(0.5)
    even = occlusion(reference, [line("amg", "h25_t25", 1, query=(0.4, 0.3, 0.4, 0.3))])
    assert even["grows"] is False


@pytest.fixture
def lines():
    records = [line("teacher", query=(0.6,) * 4), *(line("tuned", seed=s, query=(0.58,) * 4) for s in (1, 2))]
    for level, loss in (("h25_t25", 0), ("h40_t40", 0.1)):
        for seed, noise in ((1, 0.01), (2, -0.01)):
            records.append(line("amg", level, seed, query=(0.595 - loss + noise,) * 4))
            records.append(line("random", level, seed, query=(0.5 + noise,) * 4))
            records.append(line("amg_kv", level, seed, query=(0.55 + noise,) * 4, reached=False))
    return records


def test_a_summary_has_every_group_in_order_and_the_verdicts(lines):
    result = summarise(lines)
    assert [(group["method"], group["level"]) for group in result["groups"]] == [
        ("teacher", ""), ("tuned", ""), *((m, level) for level in LEVELS for m in ("amg", "amg_kv", "random")),
    ]  # fmt: skip
    amg = result["groups"][2]
    assert amg["query"]["mAP"]["mean"] == pytest.approx(0.595) and amg["seeds"] == [1, 2]
    assert amg["query"]["mAP"]["sd"] == pytest.approx(0.01 * sqrt(2))
    assert amg["untuned"]["mAP"]["mean"] == pytest.approx(0.1) and not result["groups"][0]["untuned"]
    mild, strong = (result["verdicts"]["separation"][level]["random"] for level in LEVELS)
    assert mild["difference"] == pytest.approx(0.095) and mild["separated"]
    assert strong["difference"] == pytest.approx(-0.005) and not strong["separated"]
    cost = result["verdicts"]["cost"]
    assert cost["teacher"]["difference"] == pytest.approx(-0.005) and cost["teacher"]["within"]
    assert cost["tuned"]["within"]


def test_one_point_of_map_is_the_limit(lines):
    worse = [
        line("amg", "h25_t25", record["seed"], query=(0.589,) * 4)
        if (record["method"], record["level"]) == ("amg", "h25_t25")
        else record
        for record in lines
    ]
    assert not summarise(worse)["verdicts"]["cost"]["teacher"]["within"]


def test_the_table_and_the_chart_show_every_group(lines):
    result = {"label": "synthetic people"} | summarise(lines)
    text = markdown(result)
    assert text.startswith("| method | level |")
    rows = [row for row in text.splitlines() if row.startswith("|")]
    assert len(rows) == 2 + 8 and len({row.count("|") for row in rows}) == 1
    assert "| AMG | h25_t25 | 0.1230 | 59.5 ± 1.4 | 25.0 ± 0.0 | 10.0 ± 0.0 |" in text
    assert "| AMG, keys and values only | h25_t25 | 0.1230 * |" in text
    assert re.search(r"h25_t25: AMG minus random heads and tokens: \+9\.5 mAP", text)
    assert text.count(": separated.") == text.count(": no separation.") == 1
    assert re.search(r"AMG h25_t25 minus teacher: -0\.5 mAP, within\b.* 1\.0", text)
    assert re.search(r"queries 40% .*60% .*\(50 70 ", text)
    root = ElementTree.fromstring(chart(result))
    name = "{http://www.w3.org/2000/svg}"
    assert len(root.findall(f".//{name}circle")) == 2 * 3 * 2
    assert len(root.findall(f".//{name}path[@class='teacher']")) == 2
    for element in root.iter():
        for key in ("cx", "x"):
            assert 0 <= float(element.get(key, 0)) <= 860
        assert not any(key.endswith(("href", "src")) for key in element.attrib)


def test_one_seed_is_reported_without_a_verdict(lines):
    once = [record for record in lines if record["seed"] < 2]
    text = markdown({"label": "x"} | summarise(once))
    assert "single seed" in text and ": separated" not in text and "±" not in text.split("\n- ")[0]
    ElementTree.fromstring(chart({"label": "x"} | summarise(once)))


# scores and tokens


def test_scores_by_hand():
    unit = np.eye(3, dtype=np.float32)
    gallery = FeatureSet(unit[[0, 1, 2]], np.array([1, 2, 3]), np.array([1, 1, 1]))
    # the first query looks like its person, the second like the third one, its own coming last of three
    away = np.array([0.5, 0.1, 0.86], np.float32)
    query = FeatureSet(np.stack([unit[0], away / np.linalg.norm(away)]), np.array([1, 2]), np.array([0, 0]))
    scores = own_scores(query, query, gallery, np.array([0.45, 0.75]))
    assert scores["query"]["precisions"] == pytest.approx([1, 1 / 3], abs=1e-6)
    assert scores["twins"]["mAP"] == pytest.approx(2 / 3) and scores["query"]["R1"] == 0.5
    assert [(b["low"], b["queries"], b["R1"]) for b in scores["query"]["visible"]] == [
        (0.4, 1, 1),
        (0.7, 1, 0),
    ]


def test_other_people_are_scored_as_split_and_camera_against_camera():
    unit = np.eye(2, dtype=np.float32)
    images = FeatureSet(unit[[0, 0, 1, 0]], np.array([5, 5, 6, 6]), np.array([0, 1, 0, 1]))
    query, gallery = np.array([1, 0, 0, 0], bool), np.array([0, 1, 0, 1], bool)
    scores = other_scores(images, query, gallery)
    assert scores["test"]["queries"] == 1 and scores["all"]["queries"] == 2
    three = dataclasses.replace(images, camids=np.array([0, 1, 2, 1]))
    assert "all" not in other_scores(three, query, gallery)


def test_a_token_is_the_persons_with_half_its_pixels():
    random = np.random.default_rng(0)
    masks = random.random((3, 40, 28)) < 0.5
    masks[1, :20], masks[2] = True, False
    on_person = person_tokens(masks, (40, 28), 12)
    assert on_person.shape == (3, 3 * 2)
    for picture_, row in zip(masks, on_person):
        brute = [
            picture_[12 * y : 12 * y + 16, 12 * x : 12 * x + 16].sum() >= 128
            for y in range(3)
            for x in range(2)
        ]
        assert row.tolist() == brute
    # a mask of twice the model's size says the same
    assert (person_tokens(masks.repeat(2, axis=1).repeat(2, axis=2), (40, 28), 12) == on_person).all()


def test_shares_by_hand():
    person = np.array([[1, 1, 0, 0], [1, 0, 0, 0]], bool)
    result = shares(person, [(0, 1, 2, 3, 4), (0, 1), (0, 3, 4), (0,)])
    assert result == {
        "all": 3 / 8,
        "kept": [3 / 8, 1, 0, 0],
        "person_kept": [1, pytest.approx(2 / 3), 0, 0],
    }


# a run


@pytest.fixture(scope="module")
def project(tmp_path_factory):
    """Four training identities and two test identities in the layout of Anny-ReID, weights and a configuration."""
    root, random = tmp_path_factory.mktemp("study"), np.random.default_rng(0)
    images = {}
    plan = (
        ("bounding_box_train", (3, 5, 8, 9)),
        ("query", (20, 21)),
        ("twins", (20, 21)),
        ("bounding_box_test", (20, 21)),
    )
    for folder, pids in plan:
        (root / "data" / folder).mkdir(parents=True)
        for pid in pids:
            colours = np.random.default_rng(pid).integers(30, 200, (2, 1, 3))
            for camera in (1, 2):
                name = f"{folder}/{pid:04d}_c{camera}s1_000000_00.jpg"
                pixels = np.repeat(colours, 32, axis=0).repeat(32, axis=1) + random.integers(
                    0, 20, (64, 32, 3)
                )
                Image.fromarray(pixels.astype(np.uint8)).save(root / "data" / name)
                images[name] = {"pid": pid, "camid": camera - 1, "visible": 1.0}
                if folder == "query":
                    images[name] |= {"visible": 0.4 + 0.1 * camera, "twin": name.replace("query", "twins")}
    (root / "data" / "anny.json").write_text(json.dumps({"size": [64, 32], "images": images}))
    np.savez(
        root / "data" / "masks.npz", visible=random.integers(0, 256, (len(images), 256)).astype(np.uint8)
    )
    (root / "config.yaml").write_text(CONFIG)
    save_model(lite.model(identities=4), root / "model.safetensors", lite.SPEC)
    return root


def options_of(project, **changes):
    words = {"weights": "model.safetensors", "config": "config.yaml", "data": "data", "out": "out"}
    options = StudyOptions(
        **{key: str(project / name) for key, name in words.items()}, others=(str(project / "data"),)
    )
    return dataclasses.replace(options, **changes)


def command(project, *more):
    words = [f"--{name}={project / path}" for name, path in (
        ("weights", "model.safetensors"), ("config", "config.yaml"), ("data", "data"), ("other", "data"), ("out", "out"),
    )]  # fmt: skip
    return guarded(study.main, [*words, "--seeds=1", "--methods=amg,random", *more])


@pytest.fixture(scope="module")
def made(project):
    """All trials of a run with AMG, random and one seed, made in this process."""
    options = options_of(project)
    fingerprint = study_fingerprint(options)
    jobs = [Job(options, trial, fingerprint) for wave in waves(["random"], [1]) for trial in wave]
    assert [run_trial(job) for job in jobs] == [job.trial.name for job in jobs]
    open_context.cache_clear()
    return jobs


def test_a_record_holds_what_was_measured(made, project):
    record_of = {job.trial.name: json.loads(job.path.read_text()) for job in made}
    amg, random, teacher = record_of["amg-h25_t25-1"], record_of["random-h25_t25-1"], record_of["teacher"]
    assert random["budget"]["target"] == amg["macs"]["macs_folded"] == amg["budget"]["macs_folded"]
    assert random["budget"]["reached"] and sum(random["heads"]) == sum(amg["heads"])
    assert random["heads"] != amg["heads"] or random["tokens"] != amg["tokens"]
    assert teacher["heads"] == [6] * 7 and "untuned" not in teacher
    assert record_of["tuned-1"]["macs"] == teacher["macs"]
    assert record_of["tuned-1"]["scores"]["query"] != {} and amg["untuned"]["queries"] == 4
    for line_ in record_of.values():
        assert set(line_["scores"]["others"]["data"]) == {"test", "all"}
        assert len(line_["scores"]["person"]["twins"]["kept"]) == 7
    assert (
        teacher["scores"]["person"]["gallery"]["kept"] == [teacher["scores"]["person"]["gallery"]["all"]] * 7
    )
    assert not list((project / "out").glob(".tuning-*"))


def test_a_finished_run_is_only_summarised_and_its_result_names_no_folder(made, project, capsys):
    before = {job.path: job.path.stat().st_mtime_ns for job in made}
    assert command(project, f"--picture={project / 'study.svg'}") == 0
    assert {path: path.stat().st_mtime_ns for path in before} == before
    text = (project / "out" / "result.json").read_text()
    assert str(project) not in text and json.loads(text)["cells"] == len(made) == 6
    printed = capsys.readouterr().out.strip()
    assert guarded(study.main, ["--report", str(project / "out" / "result.json"), "--table"]) == 0
    assert capsys.readouterr().out.strip() == printed and printed.startswith("| method |")
    ElementTree.parse(project / "study.svg")


def test_other_settings_are_refused_and_named(made, project, capsys):
    assert command(project, "--set=train.lr=0.5") == 2
    assert "teacher.json" in (message := capsys.readouterr().err) and "--out" in message
    with pytest.raises(ConfigError, match="--out"):
        finished(Job(made[0].options, made[0].trial, made[0].fingerprint | {"weights": "x"}))


def test_a_missing_budget_is_named(made, project, tmp_path):
    job = Job(options_of(project, out=str(tmp_path)), Trial("random", "h25_t25", 1), made[0].fingerprint)
    with pytest.raises(ConfigError, match="random-h25_t25-1 has no budget"):
        run_trial(job)


def test_wrong_arguments_are_refused(project, tmp_path, capsys):
    assert guarded(study.main, ["--out", str(tmp_path)]) == 2
    assert guarded(study.main, ["--report", str(tmp_path / "none.json")]) == 2
    (tmp_path / "empty").mkdir()
    words = ["--weights=w", f"--config={project / 'config.yaml'}", f"--out={tmp_path}"]
    assert guarded(study.main, [*words, f"--data={tmp_path / 'empty'}"]) == 3
    assert "anny.json" in capsys.readouterr().err
