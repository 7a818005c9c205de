"""Engines for the tests: job servers of Flink, Spark, Prism and Python, each a process of its own.

Which jars are Flink's and Spark's stand in the files `flink.classpath` and `spark.classpath` of the
folder that the variable MASSIVETEXT_JARS names; Maven makes them from `tests/java/*.xml`. A server
ends with the process that started it, however that ends.
"""

import contextlib
import os
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

JARS = "MASSIVETEXT_JARS"
START_SECONDS = 120

# What a small job needs of Java is a quick start: little compiling, no collection before it.
JAVA = ["java", "-Xmx1g", "-XX:TieredStopAtLevel=1", "-XX:+UseSerialGC", "-XX:MetaspaceSize=256m"]
# Java 17 hides what Spark uses.
OPENED = ["sun.nio.ch", "java.nio", "java.util", "java.lang.invoke"]
DRIVER = {
    "flink": "org.apache.beam.runners.flink.FlinkJobServerDriver",
    "spark": "org.apache.beam.runners.spark.SparkJobServerDriver",
}
MASTER = {"flink": "--flink-master=[local]", "spark": "--spark-master-url=local[2]"}


@dataclass
class Server:
    """A job server that takes jobs on a port of this machine."""

    command: list[str]
    port: int
    log: Path
    process: subprocess.Popen | None = None

    def flags(self, *environment: str) -> tuple[str, ...]:
        """Return Beam's flags to run there; where user code runs is by default this process."""
        return (
            "--runner=PortableRunner",
            f"--job_endpoint=localhost:{self.port}",
            "--parallelism=2",
            *(environment or ("--environment_type=LOOPBACK",)),
        )

    def start(self) -> None:
        self.process = start(self.command, self.log)
        wait_for(self.port, self.process, self.log)

    def kill(self) -> None:
        if self.process is not None:
            self.process.kill()
            self.process.wait()


def classpath(engine: str) -> str:
    """Return the class path of `engine`; skip the test where it or Java is missing."""
    if shutil.which("java") is None:
        pytest.skip("needs Java 11 or 17: apt-get install openjdk-17-jre-headless")
    file = Path(os.environ.get(JARS, "")) / f"{engine}.classpath"
    if not file.is_file():
        pytest.skip(
            f"needs jars: export {JARS}=FOLDER; mvn -q -f tests/java/{engine}.xml "
            f"dependency:build-classpath -Dmdep.outputFile=${JARS}/{engine}.classpath"
        )
    return file.read_text()


def java(engine: str, *arguments: str) -> list[str]:
    """Return the command that runs a Java class with the jars of `engine`."""
    opened = [f"--add-opens=java.base/{package}=ALL-UNNAMED" for package in OPENED]
    return [*JAVA, *opened, "-cp", classpath(engine), *arguments]


def command(engine: str, port: int, scratch: Path) -> list[str]:
    """Return the command of a job server; skip the test where what it needs is missing."""
    if engine == "python":
        module = "apache_beam.runners.portability.local_job_service_main"
        return [sys.executable, "-m", module, f"--port={port}"]
    if engine == "prism":
        # `go install` puts it into ~/go/bin, which often is not on the path.
        found = shutil.which("prism") or shutil.which("prism", path=str(Path.home() / "go/bin"))
        if found is None:
            pytest.skip(
                "needs Prism: go install github.com/apache/beam/sdks/v2/go/cmd/prism@v2.77.0"
            )
        return [found, f"-job_port={port}", "-serve_http=false", "-log_level=warn"]
    options = [f"--artifacts-dir={scratch}/artifacts"]
    if engine == "flink":
        # On a machine that is busy with other tests, nobody answers within the usual 50 seconds.
        (scratch / "flink-conf.yaml").write_text("heartbeat.timeout: 600000\n")
        options.append(f"--flink-conf-dir={scratch}")
    return java(
        engine,
        # One Spark for all jobs: starting it takes longer than they do.
        "-Dbeam.spark.test.reuseSparkContext=true",
        "-Dspark.ui.enabled=false",
        DRIVER[engine],
        MASTER[engine],
        f"--job-port={port}",
        "--artifact-port=0",
        "--expansion-port=-1",
        *options,
    )


@contextlib.contextmanager
def job_server(engine: str, scratch: Path) -> Iterator[Server]:
    """Run a job server of `python`, `prism`, `flink` or `spark` until the block ends."""
    port = free_port()
    server = Server(command(engine, port, scratch), port, scratch / f"{engine}.log")
    try:
        server.start()
        yield server
    finally:
        server.kill()


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("localhost", 0))
        return int(probe.getsockname()[1])


def start(command: list[str], log: Path, **environment: str) -> subprocess.Popen:
    """Start a process that dies with this one, also when this one is killed."""
    bound = ["setpriv", "--pdeathsig", "KILL"] if shutil.which("setpriv") else []
    with open(log, "ab") as out:
        return subprocess.Popen(
            [*bound, *command],
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=out,
            env={**os.environ, **environment},
        )


def wait_for(port: int, process: subprocess.Popen, log: Path, host: str = "localhost") -> None:
    """Return when `process` takes connections on `port`."""
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline and process.poll() is None:
        with contextlib.suppress(OSError), socket.create_connection((host, port), 1):
            return
        time.sleep(0.1)
    process.kill()
    raise AssertionError(f"{process.args} did not start:\n{log.read_text()[-2000:]}")
