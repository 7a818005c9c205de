"""The same build on other engines gives the same bytes, also when their job server dies."""

import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import apache_beam as beam
import pytest

from massivetext.config_file import parse
from massivetext.errors import StageError
from massivetext.pipelines import job_service
from massivetext.pipelines.build import build
from massivetext.pipelines.context import Context
from massivetext.pipelines.execute import Engine, execute

from . import corpus
from .job_servers import free_port, job_server
from .test_build import hashes

PROCESSES = (
    "--runner=PortableRunner",
    "--job_endpoint=embed",
    "--environment_type=LOOPBACK",
    "--experiments=use_loopback_process_worker",
)
ROUNDS = int(os.environ.get("MASSIVETEXT_FAULT_ROUNDS", "2"))
# On a machine that is busy with other tests, everything takes a while.
BUILD_SECONDS = 400
END_SECONDS = 120


def config_text(text: str, root: Path, output: Path) -> str:
    return text.replace(f"output: {root}/out", f"output: {output}")


def run(text: str, engine: Engine) -> dict[str, str]:
    config = parse(text, "test.yaml").config
    build(Context(Path(config.output), engine, quiet=True), config)
    return hashes(Path(config.output))


@pytest.fixture(scope="module")
def reference(tmp_path_factory) -> tuple[Path, str, dict[str, str]]:
    """The corpus's folder, its config and what the local engine makes of it with one worker."""
    root = tmp_path_factory.mktemp("engines")
    text = corpus.make(root)
    made = run(text, Engine(1))
    assert len(made) > 80
    return root, text, made


def test_two_local_workers(reference, tmp_path):
    root, text, expected = reference
    assert run(config_text(text, root, tmp_path / "out"), Engine(2)) == expected


def test_the_embedded_portable_runner_with_worker_processes(reference, tmp_path, monkeypatch):
    root, text, expected = reference
    # Beam starts its workers as `python`.
    monkeypatch.setenv("PATH", str(Path(sys.executable).parent), prepend=os.pathsep)
    assert run(config_text(text, root, tmp_path / "out"), Engine(1, PROCESSES)) == expected


@pytest.mark.slow
@pytest.mark.parametrize("name", ["prism", "flink", "spark"])
def test_a_job_server(name, reference, tmp_path):
    root, text, expected = reference
    with job_server(name, tmp_path) as server:
        made = run(config_text(text, root, tmp_path / "out"), Engine(1, server.flags()))
    assert made == expected


@pytest.mark.slow
@pytest.mark.parametrize("name", ["python", "flink"])
def test_a_job_server_killed_at_random_moments(name, reference, tmp_path):
    root, text, expected = reference
    out, config, told = tmp_path / "out", tmp_path / "config.yaml", tmp_path / "told"
    config.write_text(config_text(text, root, out))
    rng = random.Random(8)
    with job_server(name, tmp_path) as server:
        flags = ["--", *server.flags(), "--job_server_timeout=30"]
        command = [sys.executable, "-m", "massivetext", "build", str(config), *flags]

        def start() -> subprocess.Popen:
            with open(told, "wb") as log:
                return subprocess.Popen(command, stdout=log, stderr=log)

        def files() -> int:
            return sum(path.is_file() for path in out.rglob("*"))

        for _ in range(ROUNDS):
            enough = files() + rng.randint(2, 25)
            driver = start()
            try:
                deadline = time.monotonic() + BUILD_SECONDS
                while files() < enough and driver.poll() is None:
                    assert time.monotonic() < deadline
                    time.sleep(0.05)
                time.sleep(rng.random())
                server.kill()
                status = driver.wait(END_SECONDS)
            finally:
                driver.kill()
            message = told.read_text()
            if status == 0:
                break
            assert f"job server at localhost:{server.port}" in message
            server.start()
        if status != 0:
            last = start()
            try:
                assert last.wait(BUILD_SECONDS) == 0, told.read_text()
            finally:
                last.kill()
    assert hashes(out) == expected
    assert not list(out.rglob("*.tmp-*"))


def test_nobody_answers(monkeypatch):
    monkeypatch.setattr(job_service, "CONNECT_SECONDS", 1)
    port = free_port()
    flags = ("--runner=PortableRunner", f"--job_endpoint=localhost:{port}")
    with pytest.raises(StageError, match=f"no job server at localhost:{port} answered within 1 s"):
        execute(lambda pipeline: pipeline | beam.Create([1]), Engine(1, flags))


@pytest.mark.parametrize("sent", [signal.SIGKILL, signal.SIGSTOP])
def test_a_server_that_is_gone_is_noticed(sent, tmp_path, monkeypatch):
    monkeypatch.setattr(job_service, "PROBE_SECONDS", 1)
    monkeypatch.setattr(job_service, "ANSWER_SECONDS", 2)
    with job_server("python", tmp_path) as server:
        number = server.process.pid
        with pytest.raises(StageError, match=f"lost the job server at localhost:{server.port}"):
            execute(
                lambda pipeline: (
                    pipeline
                    | beam.Create([number])
                    | beam.Map(lambda process: os.kill(process, sent))
                ),
                Engine(1, server.flags()),
            )
