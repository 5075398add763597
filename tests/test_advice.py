"""What messages advise can be done: their command lines parse, their options exist, and doing it helps."""

from __future__ import annotations

import argparse
import ast
import importlib
import inspect
import re
import shlex
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from engines.cli.build import profile
from engines.onnx_compat import export_command
from engines.trtexec.load import find_profile
from engines.verify import manifest_of_build
from prune.model.file import load_model, save_model
from prune.training.data import pk_batches
from runtime.backends.tensorrt.compat import rebuild_command
from runtime.errors import ArtifactError, ConfigError, UserError
from runtime.extraction.extract import TooManyBad
from runtime.features import load_features
from runtime.files.manifest import making_command, read_manifest
from runtime.opening import open_artifact
from tests.fakes import lite
from tests.runtime.cli.test_main import Run, data, model, run  # noqa: F401

ROOT = Path(__file__).resolve().parent.parent
PACKAGES = ("runtime", "prune", "export", "engines", "benchmarks")
SCRIPTS = {
    "prune.py": "prune.cli.prune",
    "export_onnx.py": "export.cli",
    "bench.py": "benchmarks.bench.cli",
}
# Where a file's messages may be read from: the commands of its own package, or for what all share, of any.
OWN = {"prune": ("prune",), "export": ("export", "prune")}
# Options of other programs that messages name.
FOREIGN = {"--fp16", "--int8", "--help", "--user", "--upgrade"}
ODD = "a model; of (mine).onnx"


def main_of(name: str) -> str:
    """The module whose `main` runs with `python -m NAME`: the one that its last line names, or itself."""
    path = ROOT.joinpath(*name.split("."))
    path = path / "__main__.py" if path.is_dir() else path.with_suffix(".py")
    named = re.search(r'run_main\("([\w.]+)"\)', path.read_text())
    return named[1] if named else name


class Parsed(Exception):
    """Raised in place of whatever a command would do next."""


@pytest.fixture
def parse(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Parse a command line with the command's own parser, and do nothing else."""
    original = argparse.ArgumentParser.parse_args

    def parsed(self: argparse.ArgumentParser, *given: Any) -> None:
        raise Parsed(original(self, *given))

    def parse(words: Sequence[str]) -> argparse.Namespace:
        assert words[0] == "python"
        name, rest = (words[2], words[3:]) if words[1] == "-m" else (SCRIPTS[words[1]], words[2:])
        main = importlib.import_module(main_of(name)).main
        with monkeypatch.context() as patch, pytest.raises(Parsed) as stop:
            patch.setattr(argparse.ArgumentParser, "parse_args", parsed)
            main(rest)
        return stop.value.args[0]

    return parse


def sources() -> Iterator[tuple[str, ast.Module]]:
    for package in PACKAGES:
        for path in sorted((ROOT / package).rglob("*.py")):
            yield path.relative_to(ROOT).as_posix(), ast.parse(path.read_text())


def text_of(node: ast.AST) -> str | None:
    """A string with 1 for every value that is filled in; None for what is no string."""
    if isinstance(node, ast.Constant):
        return node.value if isinstance(node.value, str) else None
    if isinstance(node, ast.JoinedStr):
        return "".join(str(part.value) if isinstance(part, ast.Constant) else "1" for part in node.values)
    return None


def texts(tree: ast.Module) -> Iterator[str]:
    """All strings but docstrings and the parts of other strings."""
    skipped = {
        id(child)
        for node in ast.walk(tree)
        if isinstance(node, ast.Expr | ast.JoinedStr)
        for child in ast.walk(node)
        if child is not node
        and isinstance(node, ast.JoinedStr) | isinstance(child, ast.Constant)
        and not (isinstance(node, ast.Expr) and not isinstance(node.value, ast.Constant))
    }
    for node in ast.walk(tree):
        if id(node) not in skipped and (text := text_of(node)):
            yield text


def command_lines() -> Iterator[tuple[str, list[str]]]:
    """(file, words) of the command lines that strings hold after a colon, and of lists of words that begin with python."""
    for file, tree in sources():
        for text in texts(tree):
            for line in re.findall(r": (python (?:-m )?[\w.]+[^;(]*)", text):
                yield file, shlex.split(re.split(r", (?:or|then)\b", line)[0])
        grown = {ast.unparse(node.target) for node in ast.walk(tree) if isinstance(node, ast.AugAssign)}
        named = {
            id(node.value): ast.unparse(target)
            for node in ast.walk(tree)
            if isinstance(node, ast.Assign | ast.AnnAssign) and node.value is not None
            for target in (node.targets if isinstance(node, ast.Assign) else [node.target])
        }
        for node in ast.walk(tree):
            if isinstance(node, ast.List) and node.elts and text_of(node.elts[0]) == "python":
                if named.get(id(node)) not in grown:
                    yield file, [text_of(word) or "1" for word in node.elts]


LINES = sorted({(file, shlex.join(words)) for file, words in command_lines()})


def test_there_are_command_lines_to_look_at() -> None:
    assert len(LINES) >= 12 and {"runtime", "prune", "engines"} <= {file.split("/")[0] for file, _ in LINES}


@pytest.mark.parametrize(("file", "line"), LINES)
def test_a_command_line_in_a_message_parses(parse: Any, file: str, line: str) -> None:
    parse(shlex.split(line))


def commands() -> list[str]:
    names = list(SCRIPTS.values())
    for package in PACKAGES:
        names += [
            main_of(".".join(path.relative_to(ROOT).with_suffix("").parts))
            for path in (ROOT / package).rglob("*.py")
            if "__main__" in path.read_text()
        ]
    return sorted(set(names))


def options_of(parser: argparse.ArgumentParser) -> set[str]:
    names = set()
    for action in parser._actions:
        names |= set(action.option_strings)
        if isinstance(action, argparse._SubParsersAction):
            names |= set().union(*(options_of(subparser) for subparser in action.choices.values()))
    return names


@pytest.fixture(scope="module")
def options() -> dict[str, set[str]]:
    """Package -> the options of all its commands."""
    found: dict[str, set[str]] = {package: set() for package in PACKAGES}
    patch = pytest.MonkeyPatch()

    def stop(self: argparse.ArgumentParser, *given: Any) -> None:
        raise Parsed(self)

    mains = {name: getattr(importlib.import_module(name), "main", None) for name in commands()}
    with patch.context() as patched:
        patched.setattr(argparse.ArgumentParser, "parse_args", stop)
        for name, main in mains.items():
            # the children of some commands are no commands for people
            if main is not None and "argv" in inspect.signature(main).parameters:
                with pytest.raises(Parsed) as parsed:
                    main([])
                found[name.split(".")[0]] |= options_of(parsed.value.args[0])
    return found


def named_options(text: str) -> set[str]:
    """The options that a message names, those of whole command lines and of other programs left out."""
    prose = re.sub(r"python (?:-m )?[\w.]+[^;(]*", "", text)
    return set(re.findall(r"(?<![\w-])--[a-z][a-z-]+\b(?![=\w])", prose)) - FOREIGN


def refusals(tree: ast.Module) -> Iterator[str]:
    """The texts in calls of refusals and of what speaks on stderr."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and re.search(
            r"(Error|TooManyBad|note|print)$", ast.unparse(node.func)
        ):
            for part in node.args:
                yield from (text for child in ast.walk(part) if (text := text_of(child)))


@pytest.mark.parametrize("package", PACKAGES)
def test_an_option_in_a_message_exists(options: dict[str, set[str]], package: str) -> None:
    everywhere = set().union(*options.values())
    known = set().union(*(options[name] for name in OWN[package])) if package in OWN else everywhere
    wrong = [
        (file, option)
        for file, tree in sources()
        if file.startswith(f"{package}/")
        for text in refusals(tree)
        for option in named_options(text)
        if option not in known
    ]
    assert not wrong


# What every command reads with: an option there would be unknown to half of them.
SHARED = ("extraction/extract", "files/manifest", "gate", "images/decode", "checks/check_crops", "spec")


@pytest.mark.parametrize("name", SHARED)
def test_what_all_commands_share_advises_no_option_of_some(name: str) -> None:
    tree = ast.parse((ROOT / "runtime" / f"{name}.py").read_text())
    assert {option for text in refusals(tree) for option in named_options(text)} <= {"--check"}


# Where messages are about the options of a command: its own parser, and the types of its arguments.
PARSING = ("runtime/cli/", "runtime/options/argument_types.py", "runtime/options/backend_option.py")


def bare_options(text: str) -> set[str]:
    """The options that a message names, but for those of export_onnx.py and those in parentheses, which follow an argument."""
    return named_options(re.sub(r"export_onnx\.py --[\w-]+|\(--[^)]*\)", "", text))


def test_a_message_of_the_public_api_names_the_python_argument() -> None:
    bare = [
        (file, option)
        for file, tree in sources()
        if file.startswith("runtime/") and not file.startswith(PARSING)
        for text in refusals(tree)
        for option in bare_options(text)
    ]
    assert not bare


def test_a_message_that_names_only_an_option_is_noticed() -> None:
    assert bare_options("m.onnx: not gated; add --allow-ungated") == {"--allow-ungated"}
    assert not bare_options(
        "run it with allow_ungated=True (--allow-ungated), or export_onnx.py --check ROOT"
    )


def advised(text: str) -> list[str]:
    """The first command line of a message."""
    (line, *_) = re.findall(r"python (?:-m )?[\w.]+.*", text)
    return shlex.split(re.split(r", (?:or|then)\b|; | \(extract", line)[0])


@pytest.mark.parametrize("name", ["m.onnx", ODD, "m.safetensors", "m.npz", "m.engine", "m.plan", "notes.txt"])
def test_a_missing_file_is_made_by_the_command_that_makes_its_kind(
    parse: Any, tmp_path: Path, name: str
) -> None:
    kinds = {".npz": "runtime", ".safetensors": "prune.convert", ".engine": "engines", ".plan": "engines"}
    with pytest.raises(ArtifactError) as refusal:
        read_manifest(tmp_path / name)
    words = shlex.split(making_command(tmp_path / name))
    assert shlex.join(words) in str(refusal.value)
    args = parse(words)
    suffix = Path(name).suffix
    assert words[1 if suffix not in kinds else 2] == kinds.get(suffix, "export_onnx.py")
    # an ONNX file never goes to a name that means something else
    assert str(args.out) == (str(tmp_path / name) if suffix in (*kinds, ".onnx") else "MODEL.onnx")


def test_a_file_without_a_manifest_is_never_to_be_written_over(parse: Any, tmp_path: Path) -> None:
    for name in ("theirs.onnx", "theirs.safetensors", "theirs.npz"):
        (tmp_path / name).write_bytes(b"theirs")
        with pytest.raises(ArtifactError) as refusal:
            read_manifest(tmp_path / name)
        assert "theirs" not in str(parse(advised(str(refusal.value))).out)


def test_missing_features_are_extracted_to_a_name_that_extract_takes(parse: Any, tmp_path: Path) -> None:
    for name in ("g.npz", "gallery"):
        with pytest.raises(ArtifactError) as refusal:
            load_features(tmp_path / name)
        assert str(parse(advised(str(refusal.value))).out).endswith(".npz")


def test_a_checkpoint_is_to_be_converted_before_it_is_exported(parse: Any, tmp_path: Path) -> None:
    with pytest.raises(ArtifactError) as refusal:
        open_artifact(tmp_path / "my ckpt.pth")
    first, second = (shlex.split(line) for line in str(refusal.value).split("first: ")[1].split(", then: "))
    converted, exported = parse(first), parse(second)
    assert str(exported.weights) == str(converted.out) and str(converted.checkpoint).endswith("my ckpt.pth")
    assert str(exported.out).endswith(".onnx")


def test_an_engine_is_rebuilt_and_exported_again_by_lines_that_parse(parse: Any) -> None:
    builder = {"name": "trtexec", "onnx": ODD, "engine": "m.engine", "profiles": [[1, 4, 8]], "level": 4}
    builder |= {"workspace_mib": 99, "timing_cache": "a b.cache", "version_compatible": True}
    others = [{"file": "m.b1.engine", "sha256": "0", "batch": [1, 1, 1]}]
    for manifest in ({}, {"builder": builder}, {"builder": builder, "others": others}):
        words = shlex.split(rebuild_command(manifest, Path("some where/m.engine")))
        assert parse(words).out == Path("some where/m.engine")
    inputs = {"layout": "float-nchw", "cameras": 6, "camera": "mean", "batch": 4}
    for precision in ("fp32", "fp16", "int8"):
        for integration in (None, {"for": "triton"}):
            manifest = {"precision": precision, "input": inputs, "neighbour": integration}
            parse(shlex.split(export_command(manifest, (10, 3), "a dir/m.onnx")))


def test_a_missing_engine_is_built_where_it_is_looked_for(parse: Any, tmp_path: Path) -> None:
    with pytest.raises(ArtifactError) as refusal:
        manifest_of_build(tmp_path / "my.engine", tmp_path / "my model.onnx")
    args = parse(advised(str(refusal.value)))
    assert (args.out, args.onnx) == (tmp_path / "my.engine", tmp_path / "my model.onnx")


@pytest.mark.parametrize("batch", [2, 4, 8, 9, 64])
def test_the_profile_that_is_advised_for_a_batch_is_one_and_holds_it(batch: int) -> None:
    shapes = [{bound: {"images": [1, 8, 8, 3]} for bound in ("min", "opt", "max")}]
    with pytest.raises(ConfigError) as refusal:
        find_profile(Path("m.engine"), {"shapes": shapes}, batch)
    advised_profile = profile(str(refusal.value).split("--batch ")[1])
    assert 1 <= advised_profile.min <= advised_profile.opt <= advised_profile.max == batch


def test_more_bad_images_may_be_allowed_but_not_that_none_is_left(run: Run, data: Path, model: Path) -> None:  # noqa: F811
    images = sorted((data / "query").iterdir())
    images[0].write_bytes(b"no image")
    extract = ("extract", model, data / "query", "--out", data.parent / "q.npz")
    code, _, err = run(*extract)
    assert code == 3 and "--max-bad" in err
    assert run(*extract, "--max-bad", 1)[0] == 0
    for image in images:
        image.write_bytes(b"no image")
    code, _, err = run(*extract)
    assert code == 3 and "--max-bad" not in err


def test_a_library_call_advises_no_option(data: Path, model: Path) -> None:  # noqa: F811
    from runtime.datasets import read_dataset
    from runtime.extraction.accuracy import accuracy

    sorted((data / "query").iterdir())[0].write_bytes(b"no image")
    with pytest.raises(TooManyBad) as refusal:
        accuracy(open_artifact(model), read_dataset(data))
    assert "--" not in str(refusal.value)


def test_a_batch_of_too_many_people_says_how_many_there_are() -> None:
    labels = [0, 0, 1, 1, 2, 2]
    with pytest.raises(ConfigError, match=r"has only 3; set train\.identities and prune\.identities"):
        pk_batches(labels, identities=4, images=2, seed=0, epoch=0)
    assert pk_batches(labels, identities=3, images=2, seed=0, epoch=0)


def test_weights_that_are_no_numbers_are_not_blamed_on_the_configuration(tmp_path: Path) -> None:
    network = lite.model()
    save_model(network, tmp_path / "m.safetensors", lite.SPEC)
    from prune.model.file import load_strictly

    tensors = network.state_dict()
    tensors["base.pos_embed"] = torch.full_like(tensors["base.pos_embed"], np.nan)
    with pytest.raises(ArtifactError) as refusal:
        load_strictly(network, tensors, "x.pth")
    assert "--config" not in str(refusal.value) and "base.pos_embed" in str(refusal.value)
    del tensors["base.pos_embed"]
    with pytest.raises(ArtifactError, match="--config"):
        load_strictly(network, tensors, "x.pth")
    assert load_model(tmp_path / "m.safetensors")[0].architecture == network.architecture


def test_training_takes_the_layout_that_a_doubtful_folder_asks_for(parse: Any) -> None:
    words = ["python", "-m", "prune.train", "--config", "c", "--out", "o", "--layout", "market1501"]
    assert parse(words).layout == "market1501"
    assert issubclass(ConfigError, UserError)
