"""Running a pipeline: flags are checked before anything runs."""

import subprocess
import sys

import apache_beam as beam
import pytest

from massivetext.errors import ConfigError
from massivetext.pipelines.execute import Engine, check_flags, execute


def test_the_default_engine_uses_the_cpus_it_has():
    assert Engine().workers >= 1


@pytest.mark.parametrize("workers", [0, -1])
def test_workers_below_one(workers):
    with pytest.raises(ConfigError, match=f"workers is {workers}"):
        Engine(workers)


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (("--runer=FlinkRunner",), r"'--runer'; did you mean '--runner'\?"),
        (("--flink_mastr", "[local]"), r"'--flink_mastr'; did you mean '--flink_master'\?"),
        (("--parallelism=two",), "parallelism.*two"),
        (("--runner",), "runner.*expected one argument"),
        (("FlinkRunner",), "'FlinkRunner' is not a flag"),
        (("--runner=FlnkRunner",), r"'FlnkRunner'; did you mean 'FlinkRunner'\?"),
        (("--runner=DirectRunner",), "leave --runner out"),
        (("--runner=direct",), "leave --runner out"),
        (("--direct_num_workers=4",), "ours takes workers"),
        (("--run=FlinkRunner",), "'--run'"),
    ],
)
def test_wrong_flags(flags, message):
    with pytest.raises(ConfigError, match=message):
        check_flags(flags)
    with pytest.raises(ConfigError, match=message):
        Engine(1, flags)


@pytest.mark.parametrize(
    "flags",
    [
        (),
        ("--runner=FlinkRunner", "--flink_master=[local]", "--parallelism=2"),
        ("--runner", "dataflow", "--project=p", "--region=r", "--experiments=a"),
        ("--runner=apache_beam.runners.portability.fn_api_runner.FnApiRunner",),
    ],
)
def test_right_flags(flags):
    check_flags(flags)


def _write(pairs, path):
    with open(path, "w") as file:
        file.write(repr(sorted((key, sorted(values)) for key, values in pairs)))


def _build(path):
    def build(pipeline):
        _ = (
            pipeline
            | beam.Create(range(100))
            | beam.Map(lambda number: (number % 3, number))
            | beam.GroupByKey()
            | beam.combiners.ToList()
            | beam.Map(_write, str(path))
        )

    return build


def test_beams_own_runners_give_the_same(tmp_path):
    execute(_build(tmp_path / "local"), Engine(2))
    execute(_build(tmp_path / "fn_api"), Engine(2, ("--runner=FnApiRunner",)))
    execute(
        _build(tmp_path / "portable"),
        Engine(
            1,
            ("--runner=PortableRunner", "--job_endpoint=embed", "--environment_type=LOOPBACK"),
        ),
    )
    expected = repr([(key, list(range(key, 100, 3))) for key in range(3)])
    assert {(tmp_path / name).read_text() for name in ("local", "fn_api", "portable")} == {expected}


def test_nothing_is_said_about_libraries_nobody_asked_for(tmp_path):
    script = tmp_path / "quiet.py"
    script.write_text(
        "from massivetext.pipelines.execute import Engine, execute\n"
        "import apache_beam as beam\n"
        "execute(lambda p: p | beam.Create([1]) | beam.Reshuffle(), Engine(2))\n"
    )
    done = subprocess.run([sys.executable, str(script)], capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
