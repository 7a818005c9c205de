"""Dataflow: what each job of a build would be, and that what would be submitted gives the bytes of
an ordinary build. Nothing here reaches Google."""

import configparser
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from apache_beam import coders

from massivetext.config_file import parse
from massivetext.errors import ConfigError, StageError
from massivetext.pipelines.build import build
from massivetext.pipelines.candidates import find_candidates
from massivetext.pipelines.coders import RecordBatchCoder
from massivetext.pipelines.context import Context
from massivetext.pipelines.exact import Files
from massivetext.pipelines.exchange import Exchange
from massivetext.pipelines.execute import Engine, execute
from massivetext.pipelines.numbering import Numbering
from massivetext.pipelines.part import Part
from massivetext.pipelines.stage import run_parts

from . import corpus
from .dataflow_template import FLAGS, Job, leaves, replay, request, service
from .test_build import hashes

REPOSITORY = Path(__file__).parents[2]
MEGABYTE = 1_000_000

try:
    import google.cloud.dataflow  # noqa: F401
except ImportError:
    HAS_GCP = False
else:
    HAS_GCP = True

needs_gcp = pytest.mark.skipif(not HAS_GCP, reason='needs the extra gcp: pip install -e ".[gcp]"')


def make(root: Path, out: str) -> str:
    """Return the config of a build below `root` into `out` that runs every kind of pipeline."""
    text = corpus.make(root).replace(f"{root}/out", f"{root}/{out}")
    return text + "deduplicate: {by_url: true, spans: paragraphs}\n"


@pytest.fixture(scope="module")
def jobs(tmp_path_factory) -> tuple[list[Job], Path]:
    """Return the jobs of a whole build, and the folder of their replay, `replayed`."""
    root = tmp_path_factory.mktemp("dataflow")
    config = parse(make(root, "replayed"), "test.yaml").config
    with service(lambda job: replay(job.graph, workers=2)) as found:
        build(Context(Path(config.output), Engine(1, FLAGS), quiet=True), config)
    return found, root


@needs_gcp
def test_what_is_submitted_gives_the_bytes_of_an_ordinary_build(jobs):
    _, root = jobs
    config = parse(make(root, "ordinary"), "test.yaml").config
    build(Context(Path(config.output), Engine(2), quiet=True), config)
    expected = hashes(root / "ordinary")
    assert len(expected) > 80
    assert hashes(root / "replayed") == expected


@needs_gcp
def test_every_pipeline_of_a_build_is_a_job(jobs):
    found, _ = jobs
    steps = {name.partition("/")[0] for job in found for name in job.names}
    stages = ("measure", "clean", "sketch", "spans", "overlap", "tokenizer", "tokens", "shards")
    assert steps >= {*stages, "deduplicate", "documents"}
    read = {name for job in found for name in job.names if "ParDo(Read" in name}
    assert {"ParDo(ReadLeaders)", "ParDo(ReadBands)", "ParDo(ReadRows)"} <= read


@needs_gcp
def test_text_and_bulk_rows_are_never_pickled(jobs):
    """Between workers go parts, which are small, and Arrow batches by a partition's number."""
    exchanges = 0
    for job in jobs[0]:
        for name, (key, value) in job.shuffled().items():
            assert isinstance(key, coders.VarIntCoder), name
            if name.endswith("/ReshufflePerKey/GroupByKey"):
                continue
            exchanges += 1
            assert [type(leaf) for leaf in leaves(value)] == [RecordBatchCoder], name
    assert exchanges >= 9  # two each for url, exact, candidates, near; one or more for spans


@needs_gcp
def test_only_the_parts_are_reshuffled_and_first(jobs):
    for job in jobs[0]:
        proto = job.proto
        groups = [name for name in job.shuffled() if "Reshuffle" in name]
        assert len(groups) == 1
        [shuffle] = [
            t
            for t in proto.components.transforms.values()
            if t.spec.urn == "beam:transform:reshuffle:v1"
        ]
        [parts] = shuffle.inputs.values()
        [source] = [
            t.unique_name
            for t in proto.components.transforms.values()
            if parts in t.outputs.values() and not t.subtransforms
        ]
        assert source.startswith(("Parts/", "Create/"))


@needs_gcp
def test_workers_are_as_the_flags_say(jobs):
    """One image, no resource hints: a hint would forbid FlexRS and cut the fused steps apart."""
    image = next(f for f in FLAGS if "image" in f).partition("=")[2]
    for job in jobs[0]:
        [environment] = job.environments()
        assert image.encode() in environment.payload
        assert not environment.resource_hints
        assert not any(t.environment_id == "" for t in _user_code(job))
        asked = request(job)
        [pool] = asked.environment.worker_pools
        assert pool.machine_type == "n2-highmem-8"
        assert pool.autoscaling_settings.max_num_workers == 250
        [container] = pool.sdk_harness_container_images
        assert container.container_image == image
        assert container.use_single_core_per_container
        assert "use_runner_v2" in asked.environment.experiments


def _user_code(job: Job):
    transforms = job.proto.components.transforms.values()
    return [t for t in transforms if t.spec.urn == "beam:transform:pardo:v1"]


@needs_gcp
def test_jobs_of_a_small_build_are_small(jobs):
    for job in jobs[0]:
        assert len(job.request) < MEGABYTE / 10
        assert len(job.graph) < MEGABYTE / 10


class _Nothing:
    def setup(self) -> None: ...

    def run(self, part, out) -> None: ...


def _parts(count: int) -> list[Part]:
    """Return parts as those of a crawl: names that hardly compress."""
    found = []
    for i in range(count):
        digits = f"{i * 2654435761 % 2**32:08x}"
        path = f"gs://bucket/crawl/segments/{digits}/warc/CC-MAIN-{digits}-{i:05d}.warc.gz"
        split = {"paths": [path], "start": 0, "stop": i, "bytes": 1_000_000_000 + i * 977}
        arguments = {"subset": "massiveweb", "split": split, "rows": 30_000 + i * 7919 % 997}
        found.append(Part(f"massiveweb/part-{i:05d}", split["bytes"], arguments))
    return found


# Limits of the service: 20 MB for the request, 10 MB for the graph. The request does not grow with
# the parts, and the graph by so little that there is room for 50,000 of them.
@needs_gcp
def test_a_part_adds_little_to_a_job(tmp_path):
    parts = _parts(2000)
    with service(lambda job: None) as jobs:
        # Nothing was run, so nothing is there.
        with pytest.raises(StageError, match="ended without a result for massiveweb/part-00000"):
            run_parts(Context(tmp_path, Engine(1, FLAGS), True), "measure", "k", parts, _Nothing())
        files = Files(tmp_path, tmp_path / "work", Numbering(parts))
        exchange = lambda key, count: Exchange(key, count, "", native=True)  # noqa: E731
        execute(lambda p: find_candidates(p, exchange, files, 32, 5000), Engine(1, FLAGS))
    assert len(jobs) == 2
    for job in jobs:
        assert len(job.request) < MEGABYTE / 50
        assert len(job.graph) < 10 * MEGABYTE * 2000 / 50_000


def test_flags_of_dataflow_are_checked():
    Engine(1, (*FLAGS, "--flexrs_goal=COST_OPTIMIZED", "--dataflow_service_options=a"))
    with pytest.raises(ConfigError, match=r"--sdk_container_imag.*did you mean"):
        Engine(1, ("--runner=DataflowRunner", "--sdk_container_imag=x"))
    with pytest.raises(ConfigError, match=r"--worker_machine_typ.*did you mean"):
        Engine(1, ("--runner=DataflowRunner", "--worker_machine_typ=x"))


def test_the_image_copies_what_the_package_is_made_of():
    text = (REPOSITORY / "Dockerfile").read_text()
    copied = set()
    for line in re.findall(r"^COPY (?!--from)(.*)$", text, re.MULTILINE):
        *sources, _ = line.split()
        copied.update(Path(source) for source in sources)
    assert all((REPOSITORY / path).exists() for path in copied)
    setup = configparser.ConfigParser()
    setup.read(REPOSITORY / "setup.cfg")
    folders = {line.split(" = ")[1] for line in setup["options"]["package_dir"].strip().split("\n")}
    folders.add("massivetext")
    needed = {"setup.cfg", "pyproject.toml", setup["metadata"]["license_files"], *folders}
    assert {Path(name) for name in needed} <= copied


def test_the_image_has_the_beam_of_this_package_and_its_python():
    text = (REPOSITORY / "Dockerfile").read_text()
    [python, beam] = re.findall(r"^FROM apache/beam_python([\d.]+)_sdk:([\d.]+)", text, re.M)[-1]
    setup = configparser.ConfigParser()
    setup.read(REPOSITORY / "setup.cfg")
    [pinned] = re.findall(
        r"^apache-beam==([\d.]+)\.\*$", setup["options"]["install_requires"], re.M
    )
    assert beam.startswith(f"{pinned}.")
    assert f"python_requires = >={python}" in (REPOSITORY / "setup.cfg").read_text()
    assert text.rstrip().endswith('ENTRYPOINT ["/opt/apache/beam/boot"]')


def test_the_image_is_warmed_up_by_a_build(tmp_path):
    """The command of the image's build runs; the kernels it compiles are those of a build."""
    command = [sys.executable, "-P", str(REPOSITORY / "docker" / "warm_up.py"), str(tmp_path)]
    # The checkout, as pytest's current folder, is not the installed package.
    subprocess.run(command, check=True, cwd=tmp_path, env=dict(os.environ), timeout=500)
    assert (tmp_path / "out" / "shards" / "manifest.json").exists()
