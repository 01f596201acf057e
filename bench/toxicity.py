"""How well a classifier trained on 1,200 comments finds toxic ones, and what it takes for toxic in sentences about groups.

Comments: Wikipedia talk pages (1,492, a fifth held out by hash). Sentences: the identity templates, short and synthetic, half of
them harmless; 12,000 drawn at random of those that a hash leaves for measuring. A second classifier also learns from 3,000 other
sentences of the same templates: what such counter-examples repair, and what they cost on comments. Set SEPTET_DATA to the folder
of data sets. What it is not: a measurement on web pages.

    make bench BENCH=toxicity            python bench/toxicity.py
"""

from __future__ import annotations

import argparse
import os
import time
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
from common import machine, write

from septet.data.labelled import Labelled, is_held_out, read_labelled
from septet.data.linear import Classifier, train
from septet.evals import stats
from septet.steps.classifier import measure

TERMS = ("gay", "lesbian", "muslim", "jewish", "christian", "black", "white", "old", "straight", "american")
MEASURED, ADDED = 12_000, 3_000


def split(rows: list[Labelled]) -> tuple[list[Labelled], list[Labelled]]:
    held = [is_held_out(row.text, share=0.2, seed=0) for row in rows]
    return [r for r, out in zip(rows, held, strict=True) if not out], [
        r for r, out in zip(rows, held, strict=True) if out
    ]


def shown(estimate: stats.Estimate | dict[str, Any]) -> str:
    one = estimate if isinstance(estimate, dict) else estimate.to_json()
    return f"{one['value']:.3f} [{one['low']:.3f}, {one['high']:.3f}]"


def on_sentences(classifier: Classifier, rows: list[Labelled]) -> dict[str, str]:
    """Return AUROC over all sentences, and the share of harmless ones above 0.5, of all and with each term."""
    score = classifier.probabilities([row.text for row in rows])[:, classifier.column()]
    toxic = np.array([row.label == "True" for row in rows])
    words = [set(row.text.lower().replace(".", " ").split()) for row in rows]
    found = {
        "sentences AUROC": shown(stats.auroc(score[toxic].tolist(), score[~toxic].tolist(), seed=0, resamples=200))
    }
    for term in ("", *TERMS):
        chosen = ~toxic & np.array([not term or term in own for own in words])
        wrong = stats.proportion(int((score[chosen] > 0.5).sum()), int(chosen.sum()))
        found[f"harmless above 0.5{', ' if term else ''}{term}"] = shown(wrong)
    return found


def main() -> None:
    argparse.ArgumentParser(description="Toxicity on comments and on sentences about groups.").parse_args()
    if not os.environ.get("SEPTET_DATA"):
        raise SystemExit("set SEPTET_DATA to the folder of data sets")
    data, before = Path(os.environ["SEPTET_DATA"]), machine()
    path = data / "classification" / "wikipedia_toxicity" / "toxicity_nonfuzzed_testset.csv.gz"
    inside, outside = split(read_labelled(path, text_field="comment", label_field="toxic"))
    path = data / "bias" / "identity_templates" / "en_sentence_templates.csv.gz"
    sentences = [
        Labelled(row.text, str(row.label == "toxic"))
        for row in read_labelled(path, text_field="phrase", label_field="toxicity")
    ]
    learned, measured = split(sentences)
    rng = np.random.default_rng(0)
    measured = [measured[n] for n in rng.permutation(len(measured))[:MEASURED]]
    learned = [learned[n] for n in rng.permutation(len(learned))[:ADDED]]
    columns: dict[str, dict[str, str]] = {}
    for name, rows in {"comments": inside, "comments and sentences": inside + learned}.items():
        began = time.perf_counter()
        made = train([row.text for row in rows], [row.label for row in rows], positive="True").classifier
        seconds = time.perf_counter() - began
        p = made.probabilities([row.text for row in outside])
        figures = measure(p, [row.label for row in outside], made.labels, positive="True")
        columns[name] = {"rows": f"{len(rows):,}", "seconds to train": f"{seconds:.1f}"}
        columns[name] |= {f"comments {key}": shown(one) for key, one in figures.items()}
        columns[name] |= on_sentences(made, measured)
    first, second = columns.values()
    table = [{"figure": key, **{name: column[key] for name, column in columns.items()}} for key in first]
    assert first.keys() == second.keys()
    for row in table:
        print("  ".join(f"{value:28}" for value in row.values()))
    write(
        "toxicity",
        {
            "title": "Toxicity: comments, and sentences about groups of people",
            "about": "Figures with 95% intervals on held-out comments, and on held-out sentences of the identity templates; "
            "by what the classifier was trained on.",
            "machine": before,
            "versions": {name: version(name) for name in ("septet", "scikit-learn", "numpy")},
            "command": "make bench BENCH=toxicity",
            "comments": len(outside),
            "sentences": len(measured),
            "rows": table,
        },
    )


if __name__ == "__main__":
    main()
