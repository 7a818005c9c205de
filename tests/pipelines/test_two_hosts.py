"""Workers on two hosts that share no folder with each other or the driver, only an object store."""

import contextlib
import hashlib
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from massivetext.config_file import parse
from massivetext.pipelines.build import build
from massivetext.pipelines.context import Context
from massivetext.pipelines.execute import Engine
from massivetext.storage import Location, location, read_all, sizes
from tests import object_store

from . import corpus
from .job_servers import free_port, job_server, start, wait_for
from .test_build import hashes
from .worker_host import Balancer

pytestmark = pytest.mark.slow

# A mount namespace, in which the first argument is an empty folder of its own.
ISOLATED = 'mount -t tmpfs none "$1" && mkdir "$1/tmp" "$1/home" && shift && exec "$@"'


def unshare() -> list[str]:
    """Return the command for a mount namespace; skip the test where none may be made."""
    if shutil.which("unshare") is None:
        pytest.skip("needs unshare, of the package util-linux")
    command = ["unshare", "--mount"]
    if os.geteuid() != 0:
        command.append("--map-root-user")
    if subprocess.run([*command, "true"], capture_output=True, check=False).returncode != 0:
        pytest.skip("needs leave to make mount namespaces: run as root")
    return command


@contextlib.contextmanager
def hosts(hidden: Path, logs: Path) -> Iterator[list[int]]:
    """Run two hosts for which `hidden` is an empty folder each; yield their ports."""
    namespace = unshare()
    processes, ports = [], [free_port(), free_port()]
    try:
        for number, port in enumerate(ports):
            log = logs / f"host{number}.log"
            here = ["sh", "-c", ISOLATED, "sh", str(hidden)]
            script = [sys.executable, str(Path(__file__).with_name("worker_host.py")), str(port)]
            folders = {
                "TMPDIR": f"{hidden}/tmp",
                "HOME": f"{hidden}/home",
                "MASSIVETEXT_SCRATCH": f"{hidden}/tmp",
            }
            processes.append(start([*namespace, *here, *script], log, **folders))
            wait_for(port, processes[-1], log)
        yield ports
    finally:
        for process in processes:
            process.kill()
            process.wait()


def stored_hashes(root: Location) -> dict[str, str]:
    """Return the same as `hashes` of a folder on a store."""
    names = [name for name in sizes(root) if name != "config.yaml"]
    contents = read_all([root / name for name in names])
    return {n: hashlib.sha256(c).hexdigest() for n, c in zip(names, contents, strict=True)}


@pytest.mark.parametrize("name", ["python", "flink"])
def test_workers_need_only_the_store(name, tmp_path, tmp_path_factory):
    """With Python's job server a job has one worker, and each job is on the other host; with Flink
    every job has a worker on both."""
    text = corpus.make(tmp_path)
    config = parse(text, "local.yaml").config
    build(Context(Path(config.output), Engine(2), quiet=True), config)
    logs = tmp_path_factory.mktemp("logs")
    with (
        object_store.server(),
        hosts(tmp_path, logs) as ports,
        job_server(name, logs) as server,
    ):
        inputs = object_store.upload(tmp_path / "data", "data")
        output = f"{object_store.ADDRESS}/out"
        remote = text.replace(str(tmp_path / "data"), str(inputs)).replace(config.output, output)
        balancer = Balancer(ports)
        port, pool = balancer.serve()
        flags = server.flags(
            "--environment_type=EXTERNAL",
            f"--environment_config=localhost:{port}",
            "--sdk_worker_parallelism=2",
        )
        try:
            there = parse(remote, "remote.yaml").config
            build(Context(location(output), Engine(1, flags), quiet=True), there)
        finally:
            pool.stop(None)
        made = stored_hashes(location(output))
    assert len(balancer.started) > 10
    assert made == hashes(Path(config.output))
