"""Run the entry point of an image, and check the service in it; for tests.docker_check."""

from __future__ import annotations

import signal
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import httpx

ROOT = Path(__file__).resolve().parent.parent
TOKEN = "only-for-docker-check"


def output(command: list[str], what: str) -> str:
    """Run a command, and return its stdout. If it fails, print its output under the name `what`, and raise CalledProcessError."""
    done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT)
    if done.returncode:
        print(f"docker-check: {what}\n{done.stdout}\n{done.stderr}", file=sys.stderr)
        done.check_returncode()
    return done.stdout


@dataclass(frozen=True)
class Run:
    """The `command` that runs the entry point of an image, without its arguments."""

    command: list[str]

    def __call__(self, *words: str) -> str:
        """Run it with the arguments `words` to its end, and return its stdout. Raises CalledProcessError if it fails."""
        return output([*self.command, *words], "run in the image")

    def started(self, *words: str) -> subprocess.Popen[str]:
        """Return the process that runs it with the arguments `words`."""
        return subprocess.Popen([*self.command, *words], stdout=subprocess.PIPE, text=True, cwd=ROOT)


def check_service(models: Path, run: Run) -> float:
    """Start the service on an empty gallery, add the crops, and search for one. Return the similarity of the first hit."""
    (models / "token").write_text(TOKEN)
    words = [
        "-m",
        "runtime",
        "serve",
        "--store",
        "/store",
        "--model",
        "/models/model.onnx",
        "--host",
        "0.0.0.0",
    ]
    crops = sorted((models / "crops").iterdir())
    process = run.started(*words, "--port", "0", "--token-file", "/models/token")
    try:
        assert process.stdout
        port = process.stdout.readline().strip().rstrip("/").rpartition(":")[2]
        with httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=30) as client:
            assert client.get("/v1/info").status_code == 401
            assert client.get("/health/ready").status_code == 200
            client.headers["Authorization"] = f"Bearer {TOKEN}"
            for number, crop in enumerate(crops):
                added = client.post(
                    "/v1/rows", files={"image": crop.open("rb")}, data={"person": str(number)}
                )
                assert added.status_code == 201, added.text
            answer = client.post("/v1/search", files={"image": crops[1].open("rb")})
            hits = answer.json()["hits"]
        assert [len(hits), hits[0]["row"]["person"]] == [len(crops), "1"], answer.text
    finally:
        process.send_signal(signal.SIGTERM)
        code = process.wait(60)
    assert code == 128 + signal.SIGTERM, code
    return float(hits[0]["similarity"])
