"""The same build on another engine gives the same bytes."""

from pathlib import Path

from massivetext.config_file import parse
from massivetext.pipelines.build import build
from massivetext.pipelines.execute import Engine
from massivetext.pipelines.stage import Context

from . import corpus
from .test_build import hashes

PORTABLE = ("--runner=PortableRunner", "--job_endpoint=embed", "--environment_type=LOOPBACK")


def test_the_portable_runner_gives_the_same_bytes(tmp_path):
    text = corpus.make(tmp_path)
    outputs = []
    for name, engine in (("local", Engine(workers=2)), ("portable", Engine(1, PORTABLE))):
        config = parse(text.replace(f"{tmp_path}/out", f"{tmp_path}/{name}"), "test.yaml").config
        build(Context(Path(config.output), engine, quiet=True), config)
        outputs.append(hashes(Path(config.output)))
    assert len(outputs[0]) > 80
    assert outputs[0] == outputs[1]
