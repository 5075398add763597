"""What trtexec prints, as data. Pure: knows no command lines and runs nothing."""

from __future__ import annotations

import re
from dataclasses import dataclass

from engines.memory_advice import memory_lines, workspace_mib

Version = tuple[int, ...]

# "[10/03/2024-10:47:59] [I] text"; the date is missing behind some loggers
LINE = re.compile(r"^\s*(?:\[[\d/]+-[\d:]+\]\s+)?\[([VIWEF])\]\s?(.*)$")
BANNER = re.compile(r"^&&&& (RUNNING|PASSED|FAILED|WAIVED) TensorRT\.trtexec \[TensorRT v(\d{1,9})\]")
# more digits than any time has, a sign, or "nan" come from a broken line
N = r"\d{1,15}(?:\.\d{1,15})?(?:e[-+]?\d{1,2})?"
FIELD = re.compile(rf"(min|max|mean|median|percentile\((\d{{1,3}}(?:\.\d{{1,9}})?)%\)) = ({N}) ms")
TIMES = {
    "Latency": "latency",
    "Enqueue Time": "enqueue",
    "H2D Latency": "h2d",
    "GPU Compute Time": "gpu",
    "D2H Latency": "d2h",
}
UNSTABLE = re.compile(r"GPU compute time is unstable, with coefficient of variance = (" + N + r")%")
GRAPH_REFUSED = "operations that are not permitted under CUDA graph capture mode"
ENQUEUE_BOUND = "Throughput may be bound by Enqueue Time"
# What every failure ends with, whatever its cause; told only when nothing else was said.
CHAIN = (
    "Engine could not be created from network",
    "Failed to parse onnx file",
    "Parsing model failed",
    "Building engine failed",
    "Network And Config setup failed",
    "Failed to create engine from model or file",
    "Engine set up failed",
    "Inference set up failed",
    "Got invalid engine",
)
FRAME = re.compile(r"--- (Begin|End) node ---\s*$")
# Causes that come before trtexec's own logger does.
LOADER = re.compile(r"error while loading shared libraries|Cuda failure|CUDA error|command not found", re.I)


@dataclass(frozen=True)
class Times:
    """Milliseconds over all timed runs; `percentiles` maps 99.0 to the 99th percentile."""

    min: float
    max: float
    mean: float
    median: float
    percentiles: dict[float, float]


@dataclass(frozen=True)
class Report:
    """One run of trtexec; what it did not print is None.

    `passed` is its own verdict, None when it was cut off before it gave one. `throughput_qps` counts queries, each of a whole
    batch. `graph_refused`: the engine ran without the CUDA graph that was asked for. `unstable_percent` is the coefficient of
    variation that it warned about. `errors` are the lines that say why it failed, `memory` those of any run about too little memory,
    `workspace_mib` is what it was started with.
    """

    version: Version | None
    passed: bool | None
    gpu: str | None
    compute_capability: str | None
    throughput_qps: float | None
    latency: Times | None
    enqueue: Times | None
    h2d: Times | None
    gpu_compute: Times | None
    d2h: Times | None
    enqueue_bound: bool
    graph_refused: bool
    unstable_percent: float | None
    errors: tuple[str, ...]
    memory: tuple[str, ...] = ()
    workspace_mib: int | None = None

    def why(self, most: int = 3) -> str:
        """Why it failed, in one line: the first errors, and what it said about memory before; "" where it said nothing."""
        said = self.errors[:most]
        more = [line for line in self.memory if line not in said][:1]
        return "; ".join([*said, *more])

    def images_per_s(self, batch: int) -> float | None:
        """Throughput in images of queries of `batch` images."""
        return None if self.throughput_qps is None else self.throughput_qps * batch


def version_of(number: int) -> Version:
    """8601 -> (8, 6, 1) and 100300 -> (10, 3, 0): the major version is counted in thousands up to 8, in ten thousands from 10."""
    unit = 10_000 if number >= 100_000 else 1_000
    return number // unit, number % unit // 100, number % 100


def parse(text: str) -> Report:
    """The report of one run from all that it printed, stdout and stderr together."""
    version: Version | None = None
    passed: bool | None = None
    times: dict[str, Times] = {}
    facts: dict[str, str] = {}
    for line in text.splitlines():
        if banner := BANNER.match(line.strip()):
            version = version_of(int(banner[2]))
            passed = {"PASSED": True, "FAILED": False}.get(banner[1], passed)
            continue
        body = _body(line)
        name, _, value = body.partition(": ")
        if name in TIMES and (found := _times(value)):
            times[TIMES[name]] = found
        elif name in ("Throughput", "Selected Device", "Compute Capability"):
            facts[name] = value.strip()
    unstable = UNSTABLE.search(text)
    return Report(
        version=version,
        passed=passed,
        gpu=facts.get("Selected Device"),
        compute_capability=facts.get("Compute Capability"),
        throughput_qps=_throughput(facts.get("Throughput", "")),
        latency=times.get("latency"),
        enqueue=times.get("enqueue"),
        h2d=times.get("h2d"),
        gpu_compute=times.get("gpu"),
        d2h=times.get("d2h"),
        enqueue_bound=ENQUEUE_BOUND in text,
        graph_refused=GRAPH_REFUSED in text,
        unstable_percent=None if unstable is None else float(unstable[1]),
        errors=error_lines(text) if passed is not True else (),
        memory=memory_lines(_body(line) for line in text.splitlines()),
        workspace_mib=workspace_mib(text),
    )


def error_lines(text: str) -> tuple[str, ...]:
    """The lines that say what went wrong, in order, without dates, repetitions and the closing chain of general failures.

    Where nothing was logged as an error: the loader's complaint, else the last three lines.
    """
    lines = text.splitlines()
    found: list[str] = []
    for at, line in enumerate(lines):
        match = LINE.match(line)
        if match is None or match[1] not in "EF" or FRAME.search(match[2]):
            continue
        message = match[2].strip()
        if message.endswith(":"):
            # "ERROR: ModelImporter.cpp:195 In function parseNode:" says it in the lines that follow, without a mark
            message = " ".join([message, *_continued(lines, at + 1)])
        if message and message not in found:
            found.append(message)
    causes = [line for line in found if not line.startswith(CHAIN)]
    if causes or found:
        return tuple(causes or found)
    loader = [line.strip() for line in lines if LOADER.search(line)]
    plain = [line.strip() for line in lines if line.strip() and not line.startswith("&&&&")]
    return tuple(loader or plain[-3:])


def _continued(lines: list[str], at: int) -> list[str]:
    rest = []
    for line in lines[at:]:
        if not line.strip() or LINE.match(line) or line.startswith("&&&&"):
            break
        rest.append(line.strip())
    return rest


def _body(line: str) -> str:
    match = LINE.match(line)
    return match[2].strip() if match else line.strip()


def _times(text: str) -> Times | None:
    values: dict[str, float] = {}
    percentiles: dict[float, float] = {}
    for name, percent, value in FIELD.findall(text):
        if percent:
            percentiles[float(percent)] = float(value)
        else:
            values[name] = float(value)
    if set(values) != {"min", "max", "mean", "median"}:
        return None
    return Times(**values, percentiles=percentiles)


def _throughput(text: str) -> float | None:
    match = re.fullmatch(rf"({N}) qps", text)
    return float(match[1]) if match else None
