"""Proxies trained in worker processes: results, what is done again, what is refused."""

import json
import math
import os
import signal
import subprocess
import sys
import threading
import time
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from massivetext.config_file import parse, to_yaml
from massivetext.config_train import Mesh, Samples, Train
from massivetext.config_tune import Tune
from massivetext.errors import ConfigError, InputError
from massivetext.experiments import proxies as module
from massivetext.experiments.proxies import Proxy, diverged, run_proxies
from massivetext.experiments.proxy_jobs import in_cache, proxy_config, sampled, tokens_trained
from massivetext.experiments.proxy_run import curve, mean_loss
from massivetext.mixture import apportion
from massivetext.mixture_records import MixtureRecords
from massivetext.trainer.flops import budget_flops
from massivetext.trainer.parameters import dimensions, parameter_count
from massivetext.trainer.train import train

from . import tiny

OTHER = {"books": 0.1, "github": 0.1, "news": 0.8}


def proxy(name, weights=tiny.WEIGHTS, seed=1, **changes):
    return Proxy(name, weights, replace(tiny.TRAIN, **changes), seed)


@pytest.fixture(scope="module")
def trained(build, tmp_path_factory):
    """Three proxies, one of which diverges, with a target beside the subsets."""
    folder = tmp_path_factory.mktemp("proxies")
    for number in (1, 2):
        (folder / f"{number}.txt").write_text(tiny.documents("books", number)[0])
    targets = {"prose": (str(folder / "1.txt"), str(folder / "2.txt"))}
    config = tiny.config(build, tune=Tune(targets=targets))
    runs = [
        proxy("search/000"),
        proxy("search/001", learning_rate=1e30, steps=24),
        proxy("search/002", OTHER, seed=5),
    ]
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("JAX_DISABLE_MOST_OPTIMIZATIONS", "1")
        return folder, config, runs, run_proxies(build, config, runs, folder, workers=2, quiet=True)


def test_a_result_is_what_training_gives(trained, build, tmp_path):
    _, config, runs, results = trained
    assert [result.name for result in results] == ["search/000", "search/002"]
    for result, given_proxy in zip(results, runs[::2], strict=True):
        own = proxy_config(config, given_proxy)
        records = MixtureRecords(build, own)
        reference = train(tmp_path / result.name, own, records=records, quiet=True)
        for name, bits in reference.bpb_after.items():
            assert result.bits_per_byte[name] == pytest.approx(bits, rel=1e-4)
        size = dimensions(own.train, records.manifest["vocab_size"], tiny.LENGTH)
        assert result.tokens == 6 * 4 * tiny.LENGTH == len(records) * tiny.LENGTH
        assert result.parameters == parameter_count(size)
        assert result.flops == budget_flops(size, result.tokens) == 6 * 768 * result.parameters
        assert (result.weights, result.seed) == (given_proxy.weights, given_proxy.seed)
        assert result.tokenizer_sha256 == records.manifest["tokenizer_sha256"]
        assert [point[0] for point in result.curve] == [128, 256, 384, 512, 640, 768]
        assert result.curve[0][1] == pytest.approx(reference.loss_first, rel=1e-4)
    # Each learned what it saw.
    news = [result.bits_per_byte["news"] for result in results]
    assert news[1] < news[0]
    assert sorted(results[0].bits_per_byte) == ["books", "github", "news", "prose"]
    assert results[0].bits_per_byte["prose"] == pytest.approx(
        results[0].bits_per_byte["books"], rel=0.2
    )


def test_one_program_serves_all_seeds(trained):
    folder, _, runs, _ = trained
    assert len({run.seed for run in runs}) > 1
    for name in ("jit__fresh", "jit_on_mesh"):
        assert len(list((folder / "compiled").glob(f"{name}-*-cache"))) == 1


def test_a_run_that_diverged_is_named_and_no_checkpoint_stays(trained):
    folder, _, runs, _ = trained
    found = diverged(runs, folder)
    assert list(found) == ["search/001"]
    assert "the loss has not been finite for 20 steps" in found["search/001"]
    assert not list(folder.glob("search/*/checkpoints"))
    assert len(list(folder.glob("search/*/train/metrics.jsonl"))) == 3


def test_only_what_changed_is_trained_again(trained, build, monkeypatch):
    folder, config, runs, results = trained
    asked = []

    def run_jobs(jobs, *arguments):
        asked.extend(job["name"] for job in jobs)
        raise InterruptedError

    monkeypatch.setattr(module, "run_jobs", run_jobs)

    def again(config=config, runs=runs, **arguments):
        asked.clear()
        try:
            return run_proxies(build, config, runs, folder, workers=2, quiet=True, **arguments)
        except InterruptedError:
            return None

    before = {path: path.read_bytes() for path in folder.glob("search/*/result.json")}
    assert again() == results
    for free in ({"checkpoint_every": 7}, {"samples": Samples(("One",))}):
        assert again(runs=[replace(r, train=replace(r.train, **free)) for r in runs])
    assert asked == []
    # None of these gets to train, and what there is of a changed run goes.
    assert again(runs=[*runs[:2], replace(runs[2], seed=6)]) is None
    assert asked == ["search/002"]
    assert not (folder / "search/002/result.json").exists()
    assert again(like_tokens=2000) is None
    assert asked == ["search/000", "search/001", "search/002"]
    for path, data in before.items():
        path.write_bytes(data)
    (folder / "1.txt").write_text("another text")
    assert again() is None
    assert asked == ["search/000", "search/001", "search/002"]


LONG = replace(tiny.TRAIN, steps=800, checkpoint_every=50)
DRIVER = """
import sys
from pathlib import Path
from massivetext.config_file import load
from massivetext.experiments.proxies import Proxy, run_proxies
config = load(Path(sys.argv[1])).config
proxy = Proxy("run", config.mixture.weights, config.train, 1)
run_proxies(Path(config.output), config, [proxy], Path(sys.argv[2]), workers=1)
"""


def long_run(name):
    return Proxy(name, tiny.WEIGHTS, LONG, 1)


def long_config(build):
    return tiny.config(
        build, train=LONG, mixture=replace(tiny.config(build).mixture, max_epochs=160)
    )


@pytest.fixture(scope="module")
def whole(build, tmp_path_factory):
    """The result of a run that nothing disturbs."""
    folder = tmp_path_factory.mktemp("whole")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("JAX_DISABLE_MOST_OPTIMIZATIONS", "1")
        arguments = (build, long_config(build), [long_run("run")], folder)
        return run_proxies(*arguments, workers=1, quiet=True)[0]


def wait_for(what, process=None):
    began = time.monotonic()
    while not (found := what()):
        assert process is None or process.poll() is None
        assert time.monotonic() - began < 240
        time.sleep(0.005)
    return found


def worker_of(driver):
    """Return the number of the worker process of a driver, or None."""
    children = Path(f"/proc/{driver}/task/{driver}/children").read_text().split()
    commands = {child: Path(f"/proc/{child}/cmdline") for child in children}
    found = [
        child for child, path in commands.items() if b"experiments.worker" in path.read_bytes()
    ]
    return int(found[0]) if found else None


def trained_beyond(folder, steps):
    return lambda: tokens_trained(folder) >= steps * 4 * tiny.LENGTH


def strike_driver(number, build, folder):
    """Train in a driver of its own and send it a signal after 30 steps; return what it said."""
    (folder / "config.yaml").write_text(to_yaml(long_config(build)))
    command = [sys.executable, "-c", DRIVER, str(folder / "config.yaml"), str(folder)]
    driver = subprocess.Popen(command, stderr=subprocess.PIPE)
    try:
        wait_for(trained_beyond(folder / "run", 30), driver)
        worker = worker_of(driver.pid)
        driver.send_signal(number)
        said = driver.communicate(timeout=240)[1]
        wait_for(lambda: not running(worker))
    finally:
        driver.kill()
        driver.wait()
    assert list((folder / "run" / "checkpoints").glob("[0-9]*"))
    return said


def running(number):
    """Return whether the process is there and no zombie, which nobody may be left to collect."""
    try:
        stat = Path(f"/proc/{number}/stat").read_text()
    except FileNotFoundError:
        return False
    return stat.rpartition(")")[2].split()[0] != "Z"


def assert_same(found, whole):
    assert found.bits_per_byte == whole.bits_per_byte
    assert (found.loss, found.curve) == (whole.loss, whole.curve)


@pytest.mark.slow
def test_stopped_it_continues_to_the_same_result(build, whole, tmp_path):
    """SIGTERM at the driver leaves a checkpoint and no process."""
    said = strike_driver(signal.SIGTERM, build, tmp_path)
    assert b"stopped by a signal; run the same command again" in said
    arguments = (build, long_config(build), [long_run("run")], tmp_path)
    assert_same(run_proxies(*arguments, workers=1, quiet=True)[0], whole)


@pytest.mark.slow
def test_killed_it_continues_to_the_same_result(build, whole, tmp_path):
    """kill -9 of the driver, and of the worker of the one that follows."""
    strike_driver(signal.SIGKILL, build, tmp_path)
    struck = []

    def strike_worker():
        wait_for(trained_beyond(tmp_path / "run", 60))
        worker = worker_of(os.getpid())
        os.kill(worker, signal.SIGKILL)
        struck.append(worker)

    striker = threading.Thread(target=strike_worker)
    striker.start()
    arguments = (build, long_config(build), [long_run("run")], tmp_path)
    found = run_proxies(*arguments, workers=1, quiet=True)
    striker.join()
    assert struck
    assert_same(found[0], whole)


@pytest.mark.parametrize(
    ("changes", "error", "message"),
    [
        ({"workers": 0}, ConfigError, "workers is 0"),
        ({"runs": [proxy("a"), proxy("a")]}, ConfigError, "the same name"),
        ({"runs": [proxy("../a")]}, ConfigError, "cannot name a run"),
        ({"runs": [proxy("a", {"book": 1.0})]}, ConfigError, "run a: there is no subset 'book'"),
        ({"runs": [proxy("a", {"books": 0.9})]}, ConfigError, "run a: weights sum to 0.9"),
        ({"like_tokens": 10**6}, ConfigError, "run a: .* above mixture.max_epochs 8"),
        ({"targets": {"news": ("x",)}}, ConfigError, "'news' is a subset"),
        ({"targets": {"prose": ()}}, ConfigError, "'prose' names no file"),
        ({"targets": {"prose": ("/nowhere.txt",)}}, InputError, "/nowhere.txt: No such file"),
    ],
)
def test_what_cannot_be_trained_is_refused_before(build, tmp_path, changes, error, message):
    config = tiny.config(build, tune=Tune(targets=changes.pop("targets", {})))
    runs = changes.pop("runs", [proxy("a")])
    with pytest.raises(error, match=message):
        run_proxies(build, config, runs, tmp_path, **{"workers": 1, **changes})
    assert not list(tmp_path.iterdir())


def test_no_token_stores_and_nothing_held_out(build, tmp_path):
    with pytest.raises(InputError, match="run massivetext tokenize"):
        run_proxies(tmp_path, tiny.config(tmp_path), [proxy("a")], tmp_path, workers=1)
    (tmp_path / "manifests").mkdir()
    (tmp_path / "tokens").symlink_to(build / "tokens")
    manifest = json.loads((build / "manifests/tokens.json").read_text())
    del manifest["heldout"]["news"]
    (tmp_path / "manifests/tokens.json").write_text(json.dumps(manifest))
    runs = [proxy("a", {"news": 1.0})]
    with pytest.raises(ConfigError, match=r"run a: .* set heldout\.fraction"):
        run_proxies(tmp_path, tiny.config(tmp_path), runs, tmp_path / "p", workers=1)


@pytest.mark.parametrize(
    ("batch", "length", "mesh", "expected"),
    [
        (8, 256, Mesh(), 2),
        (8, 257, Mesh(), 1),
        (8, 64, Mesh(), 8),
        (12, 64, Mesh(), 6),
        (7, 256, Mesh(), 1),
        (8, 2048, Mesh(), 1),
        (8, 256, Mesh(data=4), 4),
        (8, 256, Mesh(data=1, fsdp=2), 2),
        (6, 256, Mesh(data=4), None),
    ],
)
def test_micro_batches_fit_a_cache(batch, length, mesh, expected):
    made = in_cache(Train(batch_size=batch, mesh=mesh), length)
    assert made == Train(batch_size=batch, mesh=mesh, micro_batch_size=expected)


def test_micro_batches_are_as_the_config_says():
    given = Train(batch_size=8, micro_batch_size=8)
    assert in_cache(given, 256) == given


def test_the_config_of_a_proxy_survives_its_way_to_the_worker(build):
    own = proxy_config(tiny.config(build), proxy("a", {"books": 1 / 3, "news": 2 / 3}, seed=9))
    assert parse(to_yaml(own), "a").config == own
    assert own.seed == 9
    assert own.mixture.tokens == 6 * 4 * tiny.LENGTH
    assert own.mixture.weights == {"books": 1 / 3, "github": 0.0, "news": 2 / 3}


@given(
    st.lists(st.floats(0, 1), min_size=1, max_size=6).filter(lambda w: sum(w) > 0.01),
    st.integers(1, 50),
)
def test_every_subset_that_is_sampled_gets_a_sequence(values, sequences):
    weights = {f"s{i}": value / sum(values) for i, value in enumerate(values)}
    left = sampled(weights, sequences)
    assert sum(left.values()) == pytest.approx(1)
    exact = {name: Fraction(str(value)) for name, value in left.items()}
    total = sum(exact.values())
    counts = apportion(sequences, {name: value / total for name, value in exact.items()})
    assert all((counts[name] > 0) == (left[name] > 0) for name in left)
    lost = {name for name in weights if weights[name] and not left[name]}
    if not lost:
        assert left == weights
    assert all(weights[name] * sequences < 1 for name in lost)


def test_the_mean_loss_by_hand():
    heldout = {
        "books": {"text_bytes": 400, "targets": 100},
        "news": {"text_bytes": 300, "targets": 100},
    }
    bits = {"books": 2.0, "news": 1.0}
    # Nats per token: 8 ln 2 and 3 ln 2. What holds nothing out does not count.
    weights = {"books": 0.3, "news": 0.1, "github": 0.6}
    expected = (0.3 * 8 + 0.1 * 3) / 0.4 * math.log(2)
    assert mean_loss(bits, weights, heldout) == pytest.approx(expected, rel=1e-12)


def test_a_curve_is_thinned_to_means():
    records = [{"tokens": 10 * (i + 1), "loss": float(i)} for i in range(1000)]
    records.insert(5, {"tokens": 50, "bits_per_byte": {}})
    points = curve(records)
    assert len(points) == 200
    assert points[0] == [50, 2.0]
    assert points[-1] == [10_000, 997.0]
    assert curve([{"tokens": 8, "loss": 1.5}, {"tokens": 16, "loss": None}]) == [[8, 1.5]]
    assert curve([]) == []


def test_tokens_trained_are_those_of_the_last_line(tmp_path):
    assert tokens_trained(tmp_path) == 0
    (tmp_path / "train").mkdir()
    path = tmp_path / "train" / "metrics.jsonl"
    path.write_text("")
    assert tokens_trained(tmp_path) == 0
    lines = [json.dumps({"step": i, "tokens": 7 * i, "loss": 1.0}) for i in range(500)]
    path.write_text("\n".join(lines) + "\n")
    assert tokens_trained(tmp_path) == 7 * 499
    assert os.path.getsize(path) > 4096
