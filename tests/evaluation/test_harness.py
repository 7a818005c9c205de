"""lm-evaluation-harness on a task of our own, offline; its figures are those of `tasks`."""

import json
from types import SimpleNamespace

import numpy as np
import pytest

pytest.importorskip("lm_eval", reason="needs: pip install massivetext[eval]")

import lm_eval
from lm_eval.tasks import TaskManager

from massivetext.evaluation.decoding import Decoding
from massivetext.evaluation.generate import continuation
from massivetext.evaluation.harness import HarnessModel
from massivetext.evaluation.likelihood import Request, encode_pair, likelihoods
from massivetext.evaluation.tasks import evaluate_task

from .trained_model import CONTEXT, TEXT, trained

ROWS = [
    {"context": "one two three", "choices": ["four", "two", "nine"], "answer": 0},
    {"context": "two three four", "choices": ["ten ten", "five", "one"], "answer": 1},
    {"context": "six seven", "choices": ["nine", "eight nine", "one"], "answer": 1},
    {"context": "three three", "choices": ["x", "yz", "four four four"], "answer": 0},
]
CHOICES = """
task: own_choices
dataset_path: json
dataset_kwargs: {data_files: {test: DATA}}
test_split: test
output_type: multiple_choice
doc_to_text: "{{context}}"
doc_to_choice: "{{choices}}"
doc_to_target: answer
metric_list: [{metric: acc}, {metric: acc_bytes}]
"""
ROLLING = """
task: own_rolling
dataset_path: json
dataset_kwargs: {data_files: {test: DATA}}
test_split: test
output_type: loglikelihood_rolling
doc_to_text: ""
doc_to_target: "{{context}}"
metric_list: [{metric: bits_per_byte}]
"""
GENERATE = """
task: own_generate
dataset_path: json
dataset_kwargs: {data_files: {test: DATA}}
test_split: test
output_type: generate_until
doc_to_text: "{{context}}"
doc_to_target: "{{choices[answer]}}"
generation_kwargs: {until: [" "], max_gen_toks: 4}
metric_list: [{metric: exact_match}]
"""


@pytest.fixture
def model():
    return HarnessModel(trained())


def asked(*arguments):
    return SimpleNamespace(args=arguments)


def test_the_harness_runs_offline_and_agrees_with_our_tasks(tmp_path, monkeypatch, model):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setenv("HF_DATASETS_CACHE", str(tmp_path / "cache"))
    data = tmp_path / "rows.jsonl"
    data.write_text("".join(json.dumps(row) + "\n" for row in ROWS))
    for name, task in (("choices", CHOICES), ("rolling", ROLLING), ("generate", GENERATE)):
        (tmp_path / f"{name}.yaml").write_text(task.replace("DATA", str(data)))
    manager = TaskManager(include_path=str(tmp_path), include_defaults=False)
    tasks = ["own_choices", "own_rolling", "own_generate"]
    results = lm_eval.simple_evaluate(
        model, tasks=tasks, task_manager=manager, bootstrap_iters=0, verbosity="ERROR"
    )["results"]
    ours = evaluate_task(model.trained, data)
    assert 0 < ours.accuracy < 1
    assert results["own_choices"]["acc,none"] == ours.accuracy
    assert results["own_choices"]["acc_bytes,none"] == ours.accuracy_per_byte
    texts = [row["context"] for row in ROWS]
    nats = -sum(model.loglikelihood_rolling([asked(text) for text in texts]))
    bits = nats / np.log(2) / sum(map(len, texts))
    assert results["own_rolling"]["bits_per_byte,none"] == pytest.approx(bits)
    assert "own_generate" in results


def test_pairs_are_scored_in_their_order(model):
    pairs = [("one two", " three"), ("", "one two"), ("five six ", "seven"), ("a", "")]
    found = model.loglikelihood([asked(*pair) for pair in pairs])
    ours = likelihoods(model.trained, [encode_pair(model.trained, *pair) for pair in pairs])
    assert found == [(-each.nats, each.greedy) for each in ours]
    assert found[3] == (0.0, True)


def test_a_rolled_text_is_its_windows_without_the_end(model):
    text = TEXT * 6
    seen = [1, *model.trained.tokenizer.encode(text).tolist()]
    starts = range(0, len(seen) - 1, CONTEXT)
    parts = [Request(seen[i : i + 1], seen[i + 1 : i + 1 + CONTEXT]) for i in starts]
    assert sum(len(part.target) for part in parts) == len(seen) - 1
    nats = sum(each.nats for each in likelihoods(model.trained, parts))
    assert model.loglikelihood_rolling([asked(text), asked("")]) == [pytest.approx(-nats), 0]


def test_text_is_generated_up_to_a_stop(model):
    def text(**settings):
        return model.generate_until([asked("one two three", settings)])[0]

    def ours(count, how):
        prompt = model.trained.tokenizer.encode("one two three").tolist()
        tokens = list(continuation(model.trained, prompt, count, how, 0))
        return model.trained.tokenizer.decode(np.array(tokens))

    whole = ours(8, Decoding(0))
    assert text(max_gen_toks=8) == text(max_gen_toks=8, until=["never"]) == whole
    assert len(whole) > 6
    assert text(max_gen_toks=8, until=[whole[5:8], whole[3:5]]) == whole[: whole.index(whole[3:5])]
    assert text(max_gen_toks=8, until=whole[3:5]) == whole[: whole.index(whole[3:5])]
    assert text(max_gen_toks=8, temperature=0.0, do_sample=False) == whole
    drawn = ours(8, Decoding(3.0, 9, 0.9))
    assert text(max_gen_toks=8, do_sample=True, temperature=3.0, top_k=9, top_p=0.9) == drawn
    assert drawn != whole
