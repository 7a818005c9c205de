"""DoReMi on subsets of which one can be learned and one is noise."""

from pathlib import Path

import pytest

from massivetext.config_file import parse
from massivetext.config_train import Samples
from massivetext.dataset import write_json
from massivetext.errors import ConfigError, InputError
from massivetext.experiments import kept_weights
from massivetext.experiments.doremi import doremi, train_both
from massivetext.experiments.kept_weights import within_caps

from .weights_data import SUBSETS, config, train_killed, trajectory, write_stores


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    return write_stores(tmp_path_factory.mktemp("build"))


@pytest.fixture(scope="module")
def found(root, tmp_path_factory):
    folder = tmp_path_factory.mktemp("doremi")
    return folder, train_both(root, config(), folder, None)


def test_what_can_be_learned_weighs_more_than_noise(found):
    folder, weights = found
    assert list(weights) == sorted(SUBSETS)
    assert sum(weights.values()) == pytest.approx(1, abs=1e-6)
    assert weights["counting"] > 1 / 3 > weights["noise"]
    points = trajectory(folder)
    assert [point["step"] for point in points] == list(range(1, 41))
    for name in SUBSETS:
        mean = sum(point["weights"][name] for point in points) / 40
        assert weights[name] == pytest.approx(mean, rel=1e-12)
        assert min(point["weights"][name] for point in points) >= 1e-3 / 3 * (1 - 1e-5)


def test_killed_and_resumed_is_the_same_to_the_bit(root, found, tmp_path, monkeypatch):
    train_killed(train_both, root, tmp_path, monkeypatch)
    assert train_both(root, config(), tmp_path, None) == found[1]
    assert trajectory(tmp_path) == trajectory(found[0])


@pytest.fixture
def trained(monkeypatch):
    """Weights without training; returns the list of what was asked for."""
    asked = []

    def run_jobs(jobs, workers, compiled, done, threads):
        (job,) = jobs
        asked.append((job["kind"], parse(job["config"], "").config, job["like_tokens"], threads))
        folder = Path(job["folder"])
        (folder / "reference" / "checkpoints").mkdir(parents=True)
        (folder / "trajectory.json").write_text("[]")
        weights = {"counting": 0.9, "noise": 0.0999, "pairs": 0.0001}
        write_json(folder / "weights.json", {"identity": job["identity"], "weights": weights})

    monkeypatch.setattr(kept_weights, "run_jobs", run_jobs)
    return asked


def test_weights_are_found_once_and_kept_within_the_caps(root, tmp_path, trained):
    arguments = {"workers": 2, "like_tokens": 12_000}
    weights = doremi(root, config(), tmp_path, **arguments)
    # 4 epochs of 59 * 80 tokens are 18,880 of 12,000; 1e-4 is less than a sequence of 240.
    assert weights == {"counting": 0.90009, "noise": 0.09991, "pairs": 0.0}
    assert trained == [("doremi", config(), 12_000, 2)]
    assert not (tmp_path / "reference" / "checkpoints").exists()
    assert (tmp_path / "trajectory.json").exists()
    assert doremi(root, config(), tmp_path, **arguments) == weights
    free = {"checkpoint_every": 3, "samples": Samples(("One",))}
    assert doremi(root, config(**free), tmp_path, **arguments) == weights
    assert len(trained) == 1
    doremi(root, config(steps=30), tmp_path, **arguments)
    assert len(trained) == 2


def test_caps_are_those_of_the_real_run(root, tmp_path, trained):
    # 2 epochs of 59 * 80 tokens, in whole sequences, are 590 of 1,250.
    settings = config(mixture={"max_epochs": 2.0})
    weights = doremi(root, settings, tmp_path, workers=1, like_tokens=20_000)
    assert weights["counting"] == 0.472
    assert sum(weights.values()) == pytest.approx(1)


def test_what_cannot_be_is_said_before_any_training(root, tmp_path, trained):
    with pytest.raises(ConfigError, match="max_epochs"):
        doremi(root, config(), tmp_path / "a", workers=1, like_tokens=100_000)
    with pytest.raises(InputError, match="no token stores"):
        doremi(tmp_path, config(), tmp_path / "b", workers=1)
    assert trained == []


def test_within_caps_keeps_what_fits(root):
    even = dict.fromkeys(SUBSETS, 1 / 3)
    found = within_caps(root, config(), None, even)
    assert sum(found.values()) == pytest.approx(1, abs=1e-12)
    assert found == pytest.approx(even, abs=2e-6)
