"""The builders on published data sets, with the numbers that were published.

SEPTET_DATA=folder python -m pytest tests/data/test_real_datasets.py
"""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from septet.core.errors import DataError
from septet.data.builder import Builder, Built


def build(kind: str, train: Any, **fields: Any) -> Built:
    def named(value: Any) -> Any:
        return [str(path) for path in value] if isinstance(value, list) else str(value)

    parts = {part: named(fields.pop(part)) for part in ("validation", "test") if part in fields}
    return Builder.parse({"kind": kind, "train": named(train), **parts, **fields}).build([], [], seed=0)


def sizes(built: Built) -> tuple[int, int, int]:
    return len(built.train), len(built.held_out), len(built.test)


def test_sst2(real_data: Path):
    folder = real_data / "classification" / "sst2"
    train, dev, test = (folder / f"stsa.binary.{part}.gz" for part in ("train", "dev", "test"))
    built = build("lines", train, validation=dev, test=test, label_names={"0": "negative", "1": "positive"})
    assert sizes(built) == (6920, 872, 1821)
    assert Counter(row["label"] for row in built.train) == {"positive": 3610, "negative": 3310}
    assert built.task == "classification"


def test_trec(real_data: Path):
    folder = real_data / "classification" / "trec"
    fields = {"test": folder / "TREC.test.gz", "pattern": r"(?P<label>[A-Z]+):\S+ (?P<text>.+)"}
    with pytest.raises(DataError, match=r"(?s)TREC.train.gz, row 66: not UTF-8.*latin-1"):
        build("lines", folder / "TREC.train.gz", **fields)
    built = build("lines", folder / "TREC.train.gz", encoding="latin-1", **fields)
    assert sizes(built) == (4907, 545, 500)
    assert built.labels == ["ABBR", "DESC", "ENTY", "HUM", "LOC", "NUM"]
    assert Counter(row["label"] for row in (*built.train, *built.held_out))["ENTY"] == 1250
    assert not {row["text"] for row in built.train} & {row["text"] for row in built.held_out}


def test_ag_news(real_data: Path):
    path = real_data / "classification" / "ag_news_test" / "test.csv.gz"
    with pytest.raises(DataError, match="looks like data"):
        build("table", path)
    names = {"1": "World", "2": "Sports", "3": "Business", "4": "Sci/Tech"}
    columns = {"text": ["title", "body"], "label": "label"}
    built = build(
        "table", path, header=["label", "title", "body"], columns=columns, label_names=names, split={"test": 0.2}
    )
    assert sizes(built) == (5320, 760, 1520)
    assert set(Counter(row["label"] for row in built.test).values()) == {380}


def test_sms_spam(real_data: Path):
    path = real_data / "classification" / "sms_spam" / "SMSSpamCollection.tsv.gz"
    with pytest.raises(DataError, match=r"(?s)10 places cannot be used.*row 284: .*set quotes: false"):
        build("table", path)
    built = build("table", path, quotes=False)
    assert built.columns == {"text": "SMS", "label": "Label"}
    rows = [*built.train, *built.held_out]
    assert Counter(row["label"] for row in rows) == {"ham": 4827, "spam": 747}
    assert not {row["text"] for row in built.train} & {row["text"] for row in built.held_out}


def test_rte(real_data: Path):
    built = build("table", real_data / "classification" / "rte" / "rte.zip", pattern="**/rte3_dev.xml")
    assert built.columns == {"text": "t", "label": "entailment", "pair": "h", "id": "id"}
    assert len(built.train) + len(built.held_out) == 800
    assert built.labels == ["NO", "YES"]


def test_movie_reviews(real_data: Path):
    built = build("folders", real_data / "classification" / "movie_reviews_long" / "movie_reviews.zip")
    assert sizes(built) == (1800, 200, 0)
    assert Counter(row["label"] for row in built.held_out) == {"neg": 100, "pos": 100}


def test_conll_2003(real_data: Path):
    folder = real_data / "ner" / "conll2003"
    built = build("conll", folder / "eng.train.gz", validation=folder / "eng.testa.gz", test=folder / "eng.testb.gz")
    assert sizes(built) == (14041, 3250, 3453)
    # Tjong Kim Sang and De Meulder (2003), tables 1 and 2: documents, tokens and entities
    expected = {
        "train": (946, 203621, {"LOC": 7140, "MISC": 3438, "ORG": 6321, "PER": 6600}),
        "held_out": (216, 51362, {"LOC": 1837, "MISC": 922, "ORG": 1341, "PER": 1842}),
        "test": (231, 46435, {"LOC": 1668, "MISC": 702, "ORG": 1661, "PER": 1617}),
    }
    for part, (documents, tokens, entities) in expected.items():
        rows = getattr(built, part)
        assert len({row["group"] for row in rows}) == documents
        assert sum(len(row["words"]) for row in rows) == tokens
        assert Counter(tag[2:] for row in rows for tag in row["tags"] if tag[0] == "B") == entities


def test_wnut_17(real_data: Path):
    folder = real_data / "ner" / "wnut17"
    built = build(
        "conll", folder / "wnut17train.conll.gz", validation=folder / "emerging.dev.conll.gz",
        test=folder / "emerging.test.annotated.gz",
    )  # fmt: skip
    assert sizes(built) == (3394, 1009, 1287)
    assert sum(len(row["words"]) for row in built.train) == 62730


def test_squad_2(real_data: Path):
    built = build("squad", real_data / "qa" / "squad_v2_dev" / "dev-v2.0.json.gz", split={"test": 0.1})
    rows = [*built.train, *built.held_out, *built.test]
    assert len(rows) == 6078
    assert built.notes == {"questions_without_an_answer": 3168}
    titles = [{row["group"] for row in part} for part in (built.train, built.held_out, built.test)]
    assert all(titles)
    assert sum(map(len, titles)) == len(set.union(*titles))


@pytest.mark.parametrize("language", ["en", "de", "es", "zh"])
def test_xquad(real_data: Path, language: str):
    built = build("squad", real_data / "qa" / "xquad" / f"xquad.{language}.json.gz", split={"validation": 0})
    assert len(built.train) == 1190
    assert "answers_put_right" not in built.notes


def test_multi30k(real_data: Path):
    folder = real_data / "translation" / "multi30k_en_de"

    def both(part: str) -> list[Path]:
        return [folder / f"{part}.{language}.gz" for language in ("en", "de")]

    built = build("parallel", both("train"), validation=both("val"), test=both("test_2016_flickr"))
    assert sizes(built) == (29000, 1014, 1000)
    assert built.test[0] == {
        "source": "A man in an orange hat starring at something.",
        "target": "Ein Mann mit einem orangefarbenen Hut, der etwas anstarrt.",
    }


def test_dialogsum(real_data: Path):
    folder = real_data / "summarization" / "dialogsum"
    built = build("table", folder / "dialogsum.dev.jsonl.gz", test=folder / "dialogsum.test.jsonl.gz")
    assert sizes(built) == (450, 50, 500)
    assert {len(row.get("references", [1])) for row in built.test} <= {1, 2, 3}
    assert Counter(len(row.get("references", [1])) for row in built.test)[3] == 490


def test_scitldr(real_data: Path):
    folder = real_data / "summarization" / "scitldr"
    train, dev, test = (folder / f"{part}.jsonl.gz" for part in ("train", "dev", "test"))
    built = build("table", train, validation=dev, test=test)
    assert built.task == "text-to-text"
    assert sizes(built) == (1992, 619, 618)
    assert any(len(row.get("references", [])) > 1 for row in built.test)


def test_conversations(real_data: Path):
    folder = real_data / "sft"
    alpaca = build("table", folder / "alpaca_sample" / "alpaca_en_demo.json.gz")
    shared = build("table", folder / "chat_and_persona" / "dummy_conversation.json.gz")
    assert [alpaca.task, len(alpaca.train) + len(alpaca.held_out)] == ["chat", 999]
    assert [shared.task, len(shared.train) + len(shared.held_out)] == ["chat", 500]
    tools = folder / "tool_calling" / "glaive_toolcall_en_demo.json.gz"
    with pytest.raises(DataError, match="has the role 'function_call'"):
        build("table", tools)
    kept = build("table", tools, on_bad="drop")
    assert len(kept.train) + len(kept.held_out) + kept.notes["rows_left_out"] == 300
