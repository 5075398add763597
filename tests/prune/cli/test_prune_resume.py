"""A pruning run that is killed anywhere goes on, and ends in the same bytes as one that never was."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from prune.cli import progress, pruning
from prune.model.file import load_model
from runtime.files.manifest import sha256
from tests.fakes import prune_runs

ROOT = Path(__file__).resolve().parents[3]


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return prune_runs.people(tmp_path_factory.mktemp("resume") / "people")


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    return prune_runs.teacher(tmp_path_factory.mktemp("resume") / "teacher", prune_runs.network(7))


def driven(*arguments) -> list[int]:
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    command_line = [sys.executable, "-m", "tests.fakes.prune_runs", *map(str, arguments)]
    done = subprocess.run(
        command_line, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=600, check=False
    )
    assert done.returncode == 0, done.stderr
    return [int(number) for number in done.stdout.splitlines()[-1].split()]


def losses(out: Path) -> list[list[float]]:
    files = sorted(out.glob("round_*/metrics.jsonl"))
    return [json.loads(line)["step_losses"] for file in files for line in file.read_text().splitlines()]


@pytest.fixture(scope="module")
def unbroken(root, data, tmp_path_factory):
    """A run that nothing disturbs, on one thread like those that are killed."""
    out, threads = tmp_path_factory.mktemp("resume") / "out", torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        assert prune_runs.prune_into(out, root, data) == 0
    finally:
        torch.set_num_threads(threads)
    return out


def check_same(out: Path, unbroken: Path) -> None:
    assert sha256(out / "model.safetensors") == sha256(unbroken / "model.safetensors")
    manifest, expected = (load_model(folder / "model.safetensors")[1] for folder in (out, unbroken))
    assert (
        manifest["cuts"] == expected["cuts"]
        and manifest["config"] == expected["config"]
        and manifest["parent"] == expected["parent"]
    )
    assert losses(out) == losses(unbroken)
    files, expected_files = (
        {str(path.relative_to(folder)) for path in folder.rglob("*")} for folder in (out, unbroken)
    )
    assert files == expected_files


def test_a_finished_run_leaves_results_and_metrics_only(unbroken):
    files = {str(path.relative_to(unbroken)) for path in unbroken.rglob("*") if path.is_file()}
    rounds = {f"round_{number:02d}/metrics.jsonl" for number in (1, 2, 3)}
    assert files == rounds | {"model.safetensors", "model.safetensors.json", "result.json"}


def test_killed_after_every_write_it_ends_in_the_same_bytes(unbroken, root, data, tmp_path):
    times, status = driven("after", tmp_path / "out", root, data)
    # three rounds of a cut and a model, four epochs, the result
    assert (times, status) == (3 * 2 + 4 + 1, 0)
    check_same(tmp_path / "out", unbroken)


def test_killed_within_a_write_it_ends_in_the_same_bytes(unbroken, root, data, tmp_path):
    """The first cut, the first round's model, the second's snapshot, and the result."""
    numbers = [0, 2, 4, 10]
    assert driven("within", tmp_path, root, data, *numbers) == [len(numbers), 0]
    for number in numbers:
        check_same(tmp_path / str(number), unbroken)


def test_fine_tuning_between_heads_and_tokens_alone_needs_new_classifiers_too(root, data, tmp_path, capsys):
    """One round of heads, one of tokens: the first is fine-tuned on people that the classifier does not know."""
    more = ["--set", "prune.heads.rounds=1", "--set", "train.final_epochs=0"]
    assert prune_runs.prune_into(tmp_path / "out", root, data, *more) == 0
    assert "with new classifiers for 4 identities" in capsys.readouterr().err
    assert load_model(tmp_path / "out" / "model.safetensors")[0].architecture.identities == 4


class Stop(Exception):
    pass


@pytest.fixture
def stopped(root, data, tmp_path, monkeypatch):
    """A run that an exception stopped in the second round's fine-tuning."""

    def fit(model, *arguments, out, **keys):
        if out.name == "round_02":
            raise Stop
        return whole(model, *arguments, out=out, **keys)

    whole = pruning.fit
    with monkeypatch.context() as patch:
        patch.setattr(pruning, "fit", fit)
        with pytest.raises(Stop):
            prune_runs.prune_into(tmp_path / "out", root, data)
    return tmp_path / "out"


THIN = ["prune.mlp.pruned=0.3", "prune.blocks.removed=1", "prune.heads.rounds=1", "train.final_epochs=1"]
KEPT = ["prune.heads.kept=[3,3,3,3,3,3,3]", "prune.tokens.kept=[4,4,4,4,4,4,4]", "prune.heads.rounds=1"]


@pytest.mark.parametrize("settings", [THIN, KEPT], ids=["neurons and blocks", "kept counts"])
def test_whatever_is_cut_goes_on_from_a_first_round_that_was_cut(settings, root, data, tmp_path, monkeypatch):
    """What is left of a cut model must not be planned anew: the same fraction, or the same counts, would be something else."""
    more = [word for key in settings for word in ("--set", key)]
    assert prune_runs.prune_into(tmp_path / "whole", root, data, *more) == 0

    def fit(model, *arguments, **keys):
        raise Stop

    with monkeypatch.context() as patch:
        patch.setattr(pruning, "fit", fit)
        with pytest.raises(Stop):
            prune_runs.prune_into(tmp_path / "out", root, data, *more)
    assert prune_runs.prune_into(tmp_path / "out", root, data, *more, "--resume") == 0
    check_same(tmp_path / "out", tmp_path / "whole")
    architecture = load_model(tmp_path / "out" / "model.safetensors")[0].architecture
    if settings is THIN:
        assert architecture.present_blocks == 6 and sum(architecture.hidden) < 6 * 768 * 0.72
    else:
        assert {(len(block.heads), len(block.tokens)) for block in architecture.blocks} == {(3, 4)}


def test_only_the_newest_model_of_a_stopped_run_is_kept(stopped):
    kept = {str(path.relative_to(stopped)) for path in stopped.rglob("*") if path.is_file()}
    assert kept == {
        "run.json",
        "round_01/metrics.jsonl",
        "round_02/cut.safetensors",
        "round_02/cut.safetensors.json",
    }


def test_a_stopped_run_is_neither_overwritten_nor_gone_on_with_differently(
    stopped, unbroken, root, data, tmp_path, capsys
):
    before = sorted(stopped.rglob("*"))
    assert prune_runs.prune_into(stopped, root, data) == 2
    error = capsys.readouterr().err
    assert "--resume" in error and "--out" in error
    other = ["--resume", "--set", "train.lr=1e-3", "--set", "prune.tokens.fraction=0.1"]
    assert prune_runs.prune_into(stopped, root, data, *other) == 2
    assert "prune.tokens.fraction, train.lr;" in capsys.readouterr().err
    weights = prune_runs.teacher(tmp_path / "other", prune_runs.network(8))
    assert prune_runs.prune_into(stopped, weights, data, "--resume") == 2
    assert "another weights;" in capsys.readouterr().err
    fewer = prune_runs.people(tmp_path / "fewer")
    next((fewer / "bounding_box_train").iterdir()).unlink()
    assert prune_runs.prune_into(stopped, root, fewer, "--resume") == 2
    assert "another data.images;" in capsys.readouterr().err
    assert sorted(stopped.rglob("*")) == before
    # how batches are fetched changes nothing
    assert prune_runs.prune_into(stopped, root, data, "--resume", "--set", "train.workers=2") == 0
    assert "after 1 finished rounds and a cut" in capsys.readouterr().err
    assert len(losses(stopped)) == len(losses(unbroken))


def test_a_finished_run_is_not_resumed_but_can_be_done_again(unbroken, root, data, capsys):
    assert prune_runs.prune_into(unbroken, root, data, "--resume") == 2
    assert "without --resume" in capsys.readouterr().err


def test_a_mistake_before_the_first_cut_does_not_block_the_folder(root, data, tmp_path, capsys):
    out = tmp_path / "out"
    assert prune_runs.prune_into(out, root, data, "--set", "prune.heads.count=5000") == 2
    assert "at most" in capsys.readouterr().err and not progress.unfinished(out)
    assert prune_runs.prune_into(out, root, data) == 0


def test_other_folders_beside_the_rounds_are_left_alone(root, data, tmp_path):
    out = tmp_path / "out"
    other_files = [out / "round_mine" / "model.safetensors", out / "snapshot-000000001.pt"]
    for path in other_files:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("mine")
    assert prune_runs.prune_into(out, root, data) == 0
    assert [path.read_text() for path in other_files] == ["mine", "mine"]
