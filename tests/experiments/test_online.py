"""Online mixing: its reward is the loss, so it goes where the loss is, noise or not."""

import json

import numpy as np
import pytest

from massivetext.experiments import exp3
from massivetext.experiments.bandit import Bandit
from massivetext.experiments.kept_weights import even_config
from massivetext.experiments.online import online, train_online
from massivetext.mixture_records import MixtureRecords

from .weights_data import SUBSETS, config, train_killed, trajectory, write_stores


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    return write_stores(tmp_path_factory.mktemp("build"))


@pytest.fixture(scope="module")
def found(root, tmp_path_factory):
    """As a person has it: in a process of its own."""
    folder = tmp_path_factory.mktemp("online")
    return folder, online(root, config(), folder, workers=1, quiet=True)


def test_noise_is_drawn_most(found):
    folder, weights = found
    assert sum(weights.values()) == pytest.approx(1, abs=1e-12)
    assert weights["noise"] > 1 / 3 > weights["counting"]
    points = trajectory(folder)
    assert [point["step"] for point in points] == list(range(1, 41))
    assert points[0]["weights"] == dict.fromkeys(sorted(SUBSETS), 1 / 3)
    assert not (folder / "checkpoints").exists()
    assert (folder / "train" / "metrics.jsonl").exists()


def test_killed_and_resumed_is_the_same_to_the_bit(root, found, tmp_path, monkeypatch):
    train_killed(train_online, root, tmp_path, monkeypatch)
    weights = train_online(root, config(), tmp_path, None)
    assert weights == pytest.approx(found[1], abs=2e-3)
    again = train_online(root, config(), tmp_path / "again", None)
    assert weights == again
    assert trajectory(tmp_path) == trajectory(tmp_path / "again")


def test_each_sequence_is_the_next_of_the_subset_that_was_drawn(root):
    records = MixtureRecords(root, even_config(config()))
    bandit = Bandit(records, seed=7)
    drawn = [bandit.draw(step, 6 * step, 6) for step in range(50)]
    subsets = np.concatenate([batch.subset for batch in drawn])
    expected = [exp3.draw(np.full(3, 1 / 3), 6, 7, step) for step in range(50)]
    assert (subsets == np.concatenate(expected)).all()
    for index in range(3):
        rows = subsets == index
        sequences = np.concatenate([batch.sequence for batch in drawn])[rows]
        epochs = np.concatenate([batch.epoch for batch in drawn])[rows]
        available = records.planned.subsets[index].sequences
        assert (epochs == np.arange(rows.sum()) // available).all()
        assert len(set(sequences[epochs == 0])) == min(available, rows.sum())
    restored = Bandit(records, seed=7)
    restored.restore(json.loads(json.dumps(bandit.to_json())))
    for ours, theirs in zip(restored.draw(50, 300, 6), bandit.draw(50, 300, 6), strict=True):
        assert (ours == theirs).all()
