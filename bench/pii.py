"""Recall and precision of personal data by kind on labelled sentences, names on unseen templates, and what it costs in time.

The sentences are Microsoft's Presidio synthetic data (fake people in templates); set SEPTET_DATA to the folder of data sets. A hit
is exact where kind, start and end are the label's, and overlapping where it shares a character with a label of its kind. Intervals:
Wilson over labels for what patterns find (labels of one template resemble each other, so they are rather too narrow); for names a
bootstrap over templates, with five-fold cross-validation by template. What it is not: a statement about web text, where what must
not be found is far more frequent than here.

    make bench BENCH=pii            python bench/pii.py --epochs 10
"""

from __future__ import annotations

import argparse
import gzip
import json
import os
import time
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

from common import machine, write

from septet.data.documents import read_rows
from septet.data.entities import Tagged, read_tagged
from septet.data.labelled import hash_text
from septet.data.personal import Finder, Hit, Kind
from septet.data.tagger import Tagger, train
from septet.evals import stats
from septet.steps.recogniser import measure

OURS: dict[str, Kind] = {
    "EMAIL_ADDRESS": "email",
    "PHONE_NUMBER": "phone",
    "IP_ADDRESS": "ip",
    "IBAN_CODE": "iban",
    "CREDIT_CARD": "card",
    "US_SSN": "national-id",
    "PERSON": "name",
}
"""Presidio's types as ours; its others (addresses, organisations, dates, titles, ...) are not looked for."""
PATTERNS: tuple[Kind, ...] = ("email", "phone", "ip", "iban", "card", "national-id", "secret")
MANY = ("US", "GB", "DE", "FR", "ES", "IT", "SE", "NO", "CZ", "AU")
SETTINGS: dict[str, dict[str, Any]] = {
    "valid, US": {"regions": ("US",), "phones": "valid"},
    "valid, ten regions": {"regions": MANY, "phones": "valid"},
    "possible, US and GB": {"regions": ("US", "GB"), "phones": "possible"},
}
FOLDS = 5
FILES = ("synth_dataset_v2", "generated_large")


def sentences(folder: Path) -> list[dict[str, Any]]:
    """Return the labelled sentences: text, hits of our kinds, group (file and template)."""
    found = []
    for name in FILES:
        for row in json.loads(gzip.decompress((folder / f"{name}.json.gz").read_bytes())):
            hits = {
                Hit(one["start_position"], one["end_position"], OURS[one["entity_type"]])
                for one in row["spans"]
                if one["entity_type"] in OURS
            }
            found.append(
                {"text": row["full_text"], "hits": hits, "group": f"{name} {row['template_id']}", "file": name}
            )
    return found


def touches(one: Hit, others: set[Hit]) -> bool:
    return any(one.kind == other.kind and one.start < other.end and other.start < one.end for other in others)


def rates(gold: Sequence[set[Hit]], found: Sequence[set[Hit]], kind: Kind) -> dict[str, Any]:
    """Return recall and precision of one kind, exact and overlapping, with Wilson intervals."""
    pairs = [
        ({h for h in a if h.kind == kind}, {h for h in b if h.kind == kind}) for a, b in zip(gold, found, strict=True)
    ]
    wanted, had = sum(len(a) for a, _ in pairs), sum(len(b) for _, b in pairs)
    row: dict[str, Any] = {"kind": kind, "labels": wanted, "found": had}
    counted = {
        "recall": (sum(len(a & b) for a, b in pairs), wanted),
        "precision": (sum(len(a & b) for a, b in pairs), had),
        "recall_overlapping": (sum(touches(one, b) for a, b in pairs for one in a), wanted),
        "precision_overlapping": (sum(touches(one, a) for a, b in pairs for one in b), had),
    }
    for name, (right, total) in counted.items():
        row[name] = shown(stats.proportion(right, total)) if total else None
    return row


def by_templates(
    gold: Sequence[set[Hit]], found: Sequence[set[Hit]], groups: Sequence[str], seed: int = 0
) -> dict[str, Any]:
    """Return the same for names, with bootstrap intervals over templates."""
    right = [float(len(a & b)) for a, b in zip(gold, found, strict=True)]
    counted = {
        "recall": (right, [len(a) for a in gold]),
        "precision": (right, [len(b) for b in found]),
        "f1": ([2 * n for n in right], [len(a) + len(b) for a, b in zip(gold, found, strict=True)]),
        "recall_overlapping": (
            [sum(touches(h, b) for h in a) for a, b in zip(gold, found, strict=True)],
            [len(a) for a in gold],
        ),
        "precision_overlapping": (
            [sum(touches(h, a) for h in b) for a, b in zip(gold, found, strict=True)],
            [len(b) for b in found],
        ),
    }
    row: dict[str, Any] = {"labels": sum(map(len, gold)), "found": sum(map(len, found))}
    for name, (above, below) in counted.items():
        kept = [n for n, one in enumerate(below) if one]
        row[name] = shown(
            stats.ratio([above[n] for n in kept], [below[n] for n in kept], seed=seed, groups=[groups[n] for n in kept])
        )
    return row


def shown(estimate: stats.Estimate) -> dict[str, Any]:
    return {
        key: round(value, 4) if isinstance(value, float) else value
        for key, value in estimate.to_json().items()
        if key in ("value", "low", "high")
    }


def fold(group: str) -> int:
    return int.from_bytes(hash_text(group, 0)[:4], "big") % FOLDS


def names(data: Path, epochs: int) -> list[dict[str, Any]]:
    """Return how names are found by recognisers of different origin, in sentences of templates that they have not seen.

    Of the templates, each fifth is measured by a recogniser trained on the others (and on news, in one row); what is trained on
    news only is measured on all. The row "conll2003, four types" has the usual figures on news as well.
    """
    path = data / "pii" / "presidio_synthetic" / f"{FILES[0]}.json.gz"
    marked = read_tagged(path, entities={"PERSON": "name"})
    rows = [row for row in sentences(path.parent) if row["file"] == FILES[0]]
    gold = [{hit for hit in row["hits"] if hit.kind == "name"} for row in rows]
    groups = [row["group"] for row in rows]
    news_path = data / "ner" / "conll2003" / "eng.train.gz"
    news, four = read_tagged(news_path, entities={"PER": "name"}), read_tagged(news_path)
    test = read_tagged(data / "ner" / "conll2003" / "eng.testb.gz")
    results: list[dict[str, Any]] = []
    origins: dict[str, tuple[bool, list[Tagged]]] = {
        "other templates": (True, []),
        "conll2003, names only": (False, news),
        "conll2003, four types": (False, four),
        "other templates and conll2003": (True, news),
    }
    for origin, (folded, always) in origins.items():
        found: list[set[Hit]] = [set() for _ in rows]
        began = time.perf_counter()
        tagger = None
        for part in range(FOLDS) if folded else (None,):
            given = always + ([one for one in marked if fold(one.group) != part] if folded else [])
            tagger = train(given, epochs=epochs)
            for place, row in enumerate(rows):
                if part is None or fold(row["group"].split()[-1]) == part:
                    hits = tagger.find(row["text"])
                    found[place] = {Hit(e.start, e.end, "name") for e in hits if e.label in ("name", "PER")}
        assert tagger is not None
        result = {"trained_on": origin, "templates": len(set(groups)), **by_templates(gold, found, groups)}
        result["seconds"] = round(time.perf_counter() - began, 1)
        if always is four:
            figures = measure(test, tagger.tag([one.words for one in test]))
            result["conll2003_testb"] = {
                name: {key: shown(stats.Estimate(**one)) for key, one in part.items() if one}
                for name, part in figures.items()
            }
            result["words_per_second"] = speed(tagger, test)
        results.append(result)
        print(f"{origin}: recall {row_of(result, 'recall')}, precision {row_of(result, 'precision')}")
    return results


def speed(tagger: Tagger, sentences: Sequence[Tagged], rounds: int = 5) -> dict[str, int]:
    """Return words tagged in a second: with every word met for the first time, and the median of later rounds."""
    words, count = [one.words for one in sentences], sum(len(one.words) for one in sentences)
    fresh = Tagger(tagger.tags, tagger.weight, tagger.transition)
    seconds = []
    for _ in range(rounds):
        began = time.process_time()
        fresh.tag(words)
        seconds.append(time.process_time() - began)
    return {"first": round(count / seconds[0]), "later": round(count / sorted(seconds[1:])[(rounds - 1) // 2])}


def throughput(data: Path, rounds: int = 3) -> dict[str, float]:
    """Return MB of web text a second and core, by kind and for all kinds that are patterns: the median of some rounds."""
    path = data / "pretraining" / "c4_and_wiki_samples" / "c4_demo.jsonl.gz"
    texts = [row["text"] for _, row in read_rows(path)]
    size = sum(len(text.encode()) for text in texts) / 1e6
    found = {}
    for name, kinds in {**{kind: (kind,) for kind in PATTERNS}, "all": PATTERNS}.items():
        finder, seconds = Finder(kinds), []
        for _ in range(rounds):
            began = time.process_time()
            for text in texts:
                finder.find(text)
            seconds.append(time.process_time() - began)
        found[name] = round(size / sorted(seconds)[rounds // 2], 1)
    return found


def row_of(row: dict[str, Any], name: str) -> str:
    one = row[name]
    return "-" if one is None else f"{one['value']:.3f} [{one['low']:.3f}, {one['high']:.3f}]"


def table(patterns: list[dict[str, Any]], by_name: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return the rows of the page: figures with their intervals as text."""
    rows = [{**row, "setting": row["setting"] if row["kind"] == "phone" else ""} for row in patterns]
    rows += [{**row, "kind": "name", "setting": f"trained on {row['trained_on']}"} for row in by_name]
    columns = ("recall", "precision", "recall_overlapping", "precision_overlapping")
    return [
        {
            **{key: row[key] for key in ("kind", "setting", "labels", "found")},
            **{key: row_of(row, key) for key in columns},
        }
        for row in rows
    ]


def main() -> None:
    parser = argparse.ArgumentParser(description="Recall and precision of personal data.")
    parser.add_argument("--epochs", type=int, default=10, help="epochs of the recognisers (default 10)")
    given = parser.parse_args()
    if not os.environ.get("SEPTET_DATA"):
        parser.error("set SEPTET_DATA to the folder of data sets")
    data, before = Path(os.environ["SEPTET_DATA"]), machine()
    rows = sentences(data / "pii" / "presidio_synthetic")
    gold = [row["hits"] for row in rows]
    patterns = []
    for setting, fields in SETTINGS.items():
        finder = Finder(PATTERNS, ips="all", **fields)
        found = [set(finder.find(row["text"])) for row in rows]
        kinds = [kind for kind in PATTERNS if kind in OURS.values()] if not patterns else ["phone"]
        patterns += [{"setting": setting, **rates(gold, found, kind)} for kind in kinds]
    for row in patterns:
        print(
            f"{row['kind']:12} {row['setting']:20} recall {row_of(row, 'recall')} precision {row_of(row, 'precision')}"
        )
    by_name = names(data, given.epochs)
    result = {
        "title": "Personal data by kind",
        "about": "Exact and overlapping hits on labelled sentences (Presidio's synthetic data); names in unseen templates.",
        "machine": before,
        "versions": {name: version(name) for name in ("septet", "phonenumbers", "numpy")},
        "command": f"make bench BENCH=pii ARGS='--epochs {given.epochs}'",
        "sentences": len(rows),
        "rows": table(patterns, by_name),
        "figures": {"patterns": patterns, "names": by_name},
        "megabytes_per_second": throughput(data),
    }
    write("pii", result)


if __name__ == "__main__":
    main()
