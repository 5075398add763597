"""Run one check inside its environment: `PYTHON -m tests.integrations_check.child MODULE JOB.json OUT.json`."""

from __future__ import annotations

import importlib
import json
import sys
from importlib.metadata import version
from pathlib import Path

from tests.integrations_check.job import Job, sweep


def main() -> None:
    name, job_path, out = sys.argv[1:]
    request = json.loads(Path(job_path).read_text())
    job = Job(**request["job"])
    module = importlib.import_module(f"tests.integrations_check.in_{name}")
    if tracks := request.get("scores"):
        result = {variant: module.identity_scores(job, of_clips) for variant, of_clips in tracks.items()}
    elif request.get("times"):
        result = module.timed(job)
    elif grid := request.get("grid"):
        result = sweep(job, module.with_settings(job), grid)
    else:
        result = module.check(job) | {"versions": {package: version(package) for package in module.PACKAGES}}
    Path(out).write_text(json.dumps(result))


if __name__ == "__main__":
    main()
