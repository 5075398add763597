"""Parse the output of trtexec. Runs nothing."""

from __future__ import annotations

import re
from dataclasses import dataclass

from engines.memory_advice import memory_lines, workspace_mib

Version = tuple[int, ...]

# a line of the log: "[10/03/2024-10:47:59] [I] text"; some loggers write no date
LINE = re.compile(r"^\s*(?:\[[\d/]+-[\d:]+\]\s+)?\[([VIWEF])\]\s?(.*)$")
BANNER = re.compile(r"^&&&& (RUNNING|PASSED|FAILED|WAIVED) TensorRT\.trtexec \[TensorRT v(\d{1,9})\]")
# A time. A number with more digits, with a sign, or "nan" can only come from a broken line, and does not match.
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
# Every failure ends with some of these lines, whatever its cause. They are reported only when there is no other error.
GENERAL_FAILURES = (
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
NODE_FRAME = re.compile(r"--- (Begin|End) node ---\s*$")
# Causes that are printed before trtexec's own logger starts.
LOADER_ERROR = re.compile(
    r"error while loading shared libraries|Cuda failure|CUDA error|command not found", re.I
)


@dataclass(frozen=True)
class Times:
    """Statistics of the times of all runs, in milliseconds.

    `percentiles` maps a percentage, such as 99.0, to that percentile of the times.
    """

    min: float
    max: float
    mean: float
    median: float
    percentiles: dict[float, float]


@dataclass(frozen=True)
class Report:
    """The output of one run of trtexec. A value that trtexec did not print is None.

    - `version` is the TensorRT version, and `passed` is trtexec's verdict (None if the output ends before it).
    - `throughput_qps` is in queries per second, where a query is one whole batch.
    - `latency` is the time of a query. Its parts are `h2d` and `d2h`, the copies to and from the GPU, and `gpu_compute`. `enqueue` is
      the time in which the CPU launches a query.
    - `enqueue_bound` is trtexec's warning that the launches limit the throughput. `graph_refused` means that the engine ran without
      the requested CUDA graph. `unstable_percent` is the coefficient of variation of the GPU time, if trtexec warned about it.
    - `errors` are the lines that explain a failure. `memory` are the lines about too little memory, also in a run that passed.
    - `workspace_mib` is the workspace with which trtexec was started.
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

    def failure_reason(self, limit: int = 3) -> str:
        """Return why the run failed, in one line; "" if both `errors` and `memory` are empty.

        The line joins the first `limit` of `errors` and the first line of `memory` that is not among them.
        """
        first_errors = self.errors[:limit]
        memory_line = [line for line in self.memory if line not in first_errors][:1]
        return "; ".join([*first_errors, *memory_line])

    def images_per_s(self, batch: int) -> float | None:
        """Return the throughput in images per second, for `batch` images in a query; None if trtexec printed no throughput."""
        return None if self.throughput_qps is None else self.throughput_qps * batch


def version_of(number: int) -> Version:
    """Return the TensorRT version for the number that trtexec prints: 8601 -> (8, 6, 1); from 10 on, 100300 -> (10, 3, 0)."""
    unit = 10_000 if number >= 100_000 else 1_000
    return number // unit, number % unit // 100, number % 100


def parse(text: str) -> Report:
    """Return the Report of `text`, which is everything that one run of trtexec printed on stdout and stderr."""
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
        if name in TIMES and (statistics := _times(value)):
            times[TIMES[name]] = statistics
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
    """Return the lines of trtexec's output that explain a failure, in their order.

    They are the messages logged as errors, without dates and repetitions. The general messages at the end (GENERAL_FAILURES) are
    left out if there are others. If no error was logged, they are the messages of the dynamic loader, or else the last three lines.
    """
    lines = text.splitlines()
    messages: list[str] = []
    for index, line in enumerate(lines):
        match = LINE.match(line)
        if match is None or match[1] not in "EF" or NODE_FRAME.search(match[2]):
            continue
        message = match[2].strip()
        if message.endswith(":"):
            # The message of "ERROR: ModelImporter.cpp:195 In function parseNode:" is in the next lines, which have no severity.
            message = " ".join([message, *_continuation(lines, index + 1)])
        if message and message not in messages:
            messages.append(message)
    causes = [message for message in messages if not message.startswith(GENERAL_FAILURES)]
    if messages:
        return tuple(causes or messages)
    loader_errors = [line.strip() for line in lines if LOADER_ERROR.search(line)]
    printed = [line.strip() for line in lines if line.strip() and not line.startswith("&&&&")]
    return tuple(loader_errors or printed[-3:])


def _continuation(lines: list[str], start: int) -> list[str]:
    continuation = []
    for line in lines[start:]:
        if not line.strip() or LINE.match(line) or line.startswith("&&&&"):
            break
        continuation.append(line.strip())
    return continuation


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
