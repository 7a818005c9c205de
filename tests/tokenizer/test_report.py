"""The report of a tokenizer: counts against slow ones, a sample that depends on ids alone."""

import json
import random
import xml.etree.ElementTree as ET
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from massivetext.cli.main import main
from massivetext.errors import ConfigError, InputError
from massivetext.tokenizer import report_sample
from massivetext.tokenizer.huggingface import to_json
from massivetext.tokenizer.report import Model, report
from massivetext.tokenizer.report_plot import bars_svg
from massivetext.tokenizer.report_sample import PASSAGE_BYTES, Rejected, Sample, draw, find
from massivetext.tokenizer.report_table import table

from .foreign import foreign
from .models import model, texts, tokenizer


def write_model(folder: Path, preset: str = "chinchilla") -> str:
    path = folder / f"{preset}.model"
    path.write_bytes(model(preset))
    return str(path)


def write_jsonl(path: Path, rows: list[str]) -> str:
    path.write_text("".join(json.dumps({"text": text}) + "\n" for text in rows), encoding="utf-8")
    return str(path)


def write_dataset(root: Path, subsets: dict[str, list[tuple[str, str]]], group: int = 3) -> str:
    """A dataset folder as a build leaves it; rows of a subset are `(text, language)`."""
    (root / "manifests").mkdir(parents=True)
    for name, rows in subsets.items():
        folder = root / "documents" / name
        folder.mkdir(parents=True)
        columns = {
            "id": [f"{name}/{place}" for place in range(len(rows))],
            "text": pa.array([text for text, _ in rows], pa.large_string()),
            "language": [language for _, language in rows],
        }
        pq.write_table(pa.table(columns), folder / "part-00000.parquet", row_group_size=group)
    return str(root)


def batch(rows: list[tuple[str, str]]) -> pa.RecordBatch:
    ids, contents = zip(*rows, strict=True) if rows else ((), ())
    return pa.record_batch(
        {"id": pa.array(ids, pa.string()), "text": pa.array(contents, pa.large_string())}
    )


class TestSample:
    ROWS = st.lists(st.text("ab é\n日", max_size=60), max_size=40).map(
        lambda contents: [(f"d{place}", text) for place, text in enumerate(contents)]
    )

    @settings(max_examples=60, deadline=None)
    @given(rows=ROWS, budget=st.integers(1, 400), seed=st.randoms(use_true_random=False))
    def test_it_depends_on_ids_and_seed_alone_and_fills_its_budget(self, rows, budget, seed):
        def drawn(order: list[tuple[str, str]], size: int) -> pa.Table:
            sample = Sample(budget, 7)
            for start in range(0, len(order), size):
                sample.add(batch(order[start : start + size]))
            return sample.passages()

        shuffled = list(rows)
        seed.shuffle(shuffled)
        first = drawn(rows, 40)
        assert drawn(shuffled, 3).equals(first)
        total = sum(len(text.encode()) for _, text in rows)
        size = sum(len(text.encode()) for text in first.column("text").to_pylist())
        assert size == total if total <= budget else budget - 3 < size <= budget
        kept = dict(zip(first.column("id").to_pylist(), first.column("text").to_pylist()))
        assert all(dict(rows)[id_].startswith(text) for id_, text in kept.items())

    def test_seeds_draw_differently(self):
        rows = [(f"d{place}", "x" * 10) for place in range(100)]
        ids = []
        for seed in (1, 2):
            sample = Sample(100, seed)
            sample.add(batch(rows))
            ids.append(sample.passages().column("id").to_pylist())
        assert len(ids[0]) == len(ids[1]) == 10
        assert ids[0] != ids[1]

    def test_memory_stays_at_twice_the_budget(self):
        sample = Sample(1000, 1)
        for start in range(0, 5000, 50):
            sample.add(batch([(f"d{start + i}", "word " * 4) for i in range(50)]))
            assert sum(rows.num_rows for rows in sample._tables) * 20 <= 2 * 1000 + 50 * 20
        assert (sample.seen_documents, sample.seen_bytes) == (5000, 100_000)

    @pytest.mark.parametrize("size", [PASSAGE_BYTES, PASSAGE_BYTES + 1, 5 * PASSAGE_BYTES])
    def test_a_long_document_is_drawn_in_passages(self, size):
        text = ("line of a book\n" * size)[:size]
        sample = Sample(10 * PASSAGE_BYTES, 1)
        sample.add(batch([("book", text)]))
        passages = sample.passages()
        found = passages.column("id").to_pylist()
        assert max(len(t) for t in passages.column("text").to_pylist()) <= PASSAGE_BYTES
        if size == PASSAGE_BYTES:
            assert found == ["book"]
            return
        ordered = sorted(found, key=lambda id_: int(id_.removeprefix("book#")))
        parts = dict(zip(found, passages.column("text").to_pylist(), strict=True))
        assert "".join(parts[id_] for id_ in ordered) == text
        assert found != ordered or len(found) < 4

    def test_of_a_large_dataset_a_choice_of_row_groups_is_read(self, tmp_path, monkeypatch):
        rows = [(f"text {place}", "en") for place in range(90)]
        root = write_dataset(tmp_path / "out", {"books": rows}, group=3)
        monkeypatch.setattr(report_sample, "ROW_GROUPS", 4)
        parts = find([root], 1, Rejected())
        assert len(parts) == 4
        [sample] = draw(parts, 10**6, 1, lambda count: None).values()
        assert sample.seen_documents == 12
        others = draw(find([root], 2, Rejected()), 10**6, 1, lambda count: None)["books"]
        assert others.passages() != sample.passages()


class TestReport:
    def test_counts_are_those_of_a_slow_count(self, tmp_path):
        rng = random.Random(1)
        lines = [line for text in texts() for line in text.split("\n")]
        books = [("\n".join(rng.sample(lines, 5)), "en") for _ in range(12)]
        other = [("日本 é " + rng.choice(lines), rng.choice(["ja", "fr"])) for _ in range(9)]
        data = write_dataset(tmp_path / "out", {"books": books, "mixed": other})
        value = report(write_model(tmp_path), [data])
        encoder = tokenizer("chinchilla")

        def slow(rows: list[tuple[str, str]]) -> dict[str, float]:
            tokens = [encoder.encode(text).tolist() for text, _ in rows]
            count = sum(map(len, tokens))
            size = sum(len(text.encode()) for text, _ in rows)
            words = sum(len(text.split()) for text, _ in rows)
            # Ids 3 to 258 are the bytes.
            bytes_ = sum(3 <= token < 259 for row in tokens for token in row)
            return {
                "passages": len(rows),
                "bytes": size,
                "words": words,
                "tokens": count,
                "byte_tokens": bytes_,
                "unknown_tokens": 0,
                "bytes_per_token": size / count,
                "tokens_per_word": count / words,
                "byte_share": bytes_ / count,
                "unknown_share": 0.0,
            }

        assert value["subsets"] == {"books": slow(books), "mixed": slow(other)}
        assert value["all"] == slow(books + other)
        assert value["languages"] == {
            name: slow([row for row in books + other if row[1] == name])
            for name in ("en", "fr", "ja")
        }
        sizes = [row["bytes"] for row in value["languages"].values()]
        assert sizes == sorted(sizes, reverse=True)
        assert value["sample"]["drawn_from"]["mixed"]["documents"] == 9
        used = {int(t) for text, _ in books + other for t in encoder.encode(text)}
        learned = [id_ for id_ in range(259, encoder.vocab_size)]
        assert value["vocabulary"]["learned"] == len(learned)
        assert value["vocabulary"]["unused"] == len(set(learned) - used)
        assert value == report(write_model(tmp_path), [data])

    def test_unused_and_longest_pieces(self, tmp_path):
        loaded = Model.load(write_model(tmp_path))
        names = [loaded.texts[i].decode().replace("▁", " ") for i in range(259, 700)]
        value = report(loaded.path, [write_jsonl(tmp_path / "a.jsonl", ["to be"])])
        found = value["vocabulary"]
        assert (
            found["unused_examples"] == [name for name in names if name not in ("to", " be")][:12]
        )
        assert [len(name) for name in found["longest"]] == sorted(map(len, names))[: -12 - 1 : -1]

    @pytest.mark.parametrize("name", ["a.jsonl", "a.txt", "a.parquet"])
    def test_files_are_subsets_of_their_names(self, tmp_path, name):
        path = tmp_path / name
        if path.suffix == ".jsonl":
            write_jsonl(path, ["of the"])
        elif path.suffix == ".txt":
            path.write_text("of the")
        else:
            pq.write_table(pa.table({"text": ["of the"]}), path)
        value = report(write_model(tmp_path), [str(path)])
        assert value["subsets"]["a"]["bytes"] == 6
        assert value["languages"] == {}

    def test_a_vocabulary_against_itself_and_another(self, tmp_path):
        data = write_jsonl(tmp_path / "a.jsonl", ["of the 1984"])
        mine, other = write_model(tmp_path), write_model(tmp_path, "palm")
        same = report(mine, [data], against=mine)
        assert (same["against"]["share_of_model"], same["against"]["common"]) == (1.0, 441)
        assert same["all"]["other_bytes_per_token"] == same["all"]["bytes_per_token"]
        value = report(mine, [data], against=other)
        sets = [set(Model.load(path).texts[259:]) for path in (mine, other)]
        common = len(sets[0] & sets[1])
        assert 0 < common < 441
        assert value["against"]["common"] == common
        assert value["against"]["share_of_model"] == common / len(sets[0])
        assert value["against"]["share_of_other"] == common / len(sets[1])
        count = len(tokenizer("palm").encode("of the 1984"))
        assert value["all"]["other_bytes_per_token"] == 11 / count

    def test_a_tokenizer_json_is_as_good_as_its_model(self, tmp_path):
        data = write_jsonl(tmp_path / "a.jsonl", list(texts()))
        (tmp_path / "t.json").write_text(json.dumps(to_json(model("palm"), "m")[0]))
        first = report(write_model(tmp_path, "palm"), [data])
        second = report(tmp_path / "t.json", [data])
        assert {k: v for k, v in first.items() if k != "model"} == {
            k: v for k, v in second.items() if k != "model"
        }

    def test_without_byte_fallback_the_lost_characters_are_named(self, tmp_path):
        (tmp_path / "m.model").write_bytes(foreign("no-fallback"))
        data = write_jsonl(tmp_path / "a.jsonl", ["of the 日日é", "日 to"])
        value = report(tmp_path / "m.model", [data])
        assert value["lost"] == {
            "characters": 4,
            "share": 4 / 14,
            "distinct": 2,
            "examples": ["日", "é"],
        }
        # Unknown characters side by side are one token.
        assert value["all"]["unknown_tokens"] == 2
        text = table(value)
        assert "it has no byte fallback: characters it does not know become <unk>" in text
        assert "4 characters of the sample (28.571%), 2 different ones, are lost: '日' 'é'" in text

    def test_unreadable_records_are_counted(self, tmp_path):
        path = tmp_path / "a.jsonl"
        path.write_text('{"text": "of the"}\nbroken\n')
        value = report(write_model(tmp_path), [str(path)])
        assert value["sample"]["unreadable_records"] == 1
        assert "warning: 1 records could not be read" in table(value)

    @pytest.mark.parametrize(
        ("data", "size", "expected"),
        [
            (["nowhere"], 10, "does not exist"),
            (["a.warc.gz"], 10, "the ending does not tell the format"),
            (["a.jsonl"], 0, "--bytes is 0"),
        ],
    )
    def test_wrong_data(self, tmp_path, monkeypatch, data, size, expected):
        monkeypatch.chdir(tmp_path)
        write_jsonl(tmp_path / "a.jsonl", ["x"])
        (tmp_path / "a.warc.gz").write_bytes(b"")
        with pytest.raises(ConfigError, match=expected):
            report(write_model(tmp_path), data, size=size)

    def test_no_text_says_why(self, tmp_path):
        path = tmp_path / "a.jsonl"
        path.write_text("broken\n")
        with pytest.raises(InputError, match=r"holds no text: 1 records could not be read, .*JSON"):
            report(write_model(tmp_path), [str(path)])

    def test_a_broken_model(self, tmp_path):
        data = write_jsonl(tmp_path / "a.jsonl", ["x"])
        (tmp_path / "m.model").write_bytes(model("palm")[:999])
        with pytest.raises(ConfigError, match=r"m\.model is not a whole SentencePiece model"):
            report(tmp_path / "m.model", [data])
        (tmp_path / "t.json").write_text('{"model": {"type": "WordPiece"}}')
        with pytest.raises(ConfigError, match=r"t\.json: .* cannot express the model WordPiece"):
            report(tmp_path / "t.json", [data])


class TestShown:
    def value(self, tmp_path: Path, **options: object) -> dict:
        rows = [("of the 1984", f"l{place:02}") for place in range(25)]
        data = write_dataset(tmp_path / "out", {"books & co": rows, "c4": rows[:2]})
        return report(write_model(tmp_path), [data], **options)  # type: ignore[arg-type]

    def test_table(self, tmp_path):
        lines = table(self.value(tmp_path)).split("\n")
        assert lines[0].split() == [
            "subset", "text", "bytes/token", "tokens/word", "byte", "tokens"
        ]  # fmt: skip
        assert [line.split("  ")[0] for line in lines[1:4]] == ["books & co", "c4", "all"]
        assert lines[4] == ""
        assert "5 more languages are in the JSON" in lines
        assert any(line.startswith("441 learned pieces, 43") for line in lines)
        assert "unknown" not in lines[0]

    def test_one_subset_needs_no_sum(self, tmp_path):
        data = write_jsonl(tmp_path / "a.jsonl", ["of the"])
        assert "\nall" not in table(report(write_model(tmp_path), [data]))

    def test_plot_is_xml_with_a_bar_for_each_group(self, tmp_path):
        value = self.value(tmp_path, against=tmp_path / "chinchilla.model")
        bars = ET.fromstring(bars_svg(value)).findall("{http://www.w3.org/2000/svg}rect")
        assert len(bars) == 1 + 2 * (2 + 25)
        widths = {float(bar.get("width")) for bar in bars[1:]}
        assert max(widths) == 500.0

    def test_command(self, tmp_path, capsys):
        data = write_jsonl(tmp_path / "a.jsonl", list(texts()))
        chosen = write_model(tmp_path)
        words = ["tokenizer-report", chosen, data, "--against", chosen, "--bytes", "9000"]
        assert main([*words, "--output", str(tmp_path / "r")]) == 0
        out = capsys.readouterr().out
        assert "441 pieces in common with" in out
        assert "100.00% of this vocabulary, 100.00% of that" in out
        assert "a sample of at most 9.0 kB of each subset" in out
        assert json.loads((tmp_path / "r.json").read_text())["subsets"]["a"]["bytes"] == 9000
        ET.parse(tmp_path / "r.svg")

    def test_the_other_commands(self, tmp_path, capsys):
        chosen, out = write_model(tmp_path), str(tmp_path / "t.json")
        assert main(["export-tokenizer", chosen, out]) == 0
        assert "differs: text that spells a special token" in capsys.readouterr().out
        assert main(["import-tokenizer", out, str(tmp_path / "own.model")]) == 0
        text = capsys.readouterr().out
        assert "own.model: bpe, 700 pieces, eos </s>, pad <pad>, unk <unk>" in text
        assert "same tokens in 213 texts as by tokenizers" in text
        assert main(["import-tokenizer", out, str(tmp_path / "own.model"), "--eos", "</x>"]) == 2
        assert "no special token '</x>'" in capsys.readouterr().err
        assert main(["export-tokenizer", chosen, "/proc/none/t.json"]) == 2
        assert "cannot write /proc/none" in capsys.readouterr().err
