"""The ladder of adaptations on public sets: SST-2, TREC, CoNLL-2003, a part of SQuAD 2.0, Multi30k, SciTLDR and DialogSum.

A real pre-trained encoder (MiniLM) for the first four (of SQuAD the questions that have an answer), and for translation and
summaries the small T5s that the recipes of these names pre-train, here on 2 M tokens, are adapted by the rungs last-layers,
IA3, prompt, prefix, LoRA, QLoRA and full, each with two seeds and 2,000 training rows; of two learning rates the better one on
held-out rows is taken; test rows are judged once. The last row is QLoRA minus LoRA over the sets of MiniLM and the seeds.
Beside SST-2 and TREC stands a bag of words (logistic regression over words and pairs, its strength chosen on the same held-out
rows).

What was finished is kept in --home, and a later call goes on from there. --rows, --seeds and --rates make it shorter; the result
says so. Of DialogSum the 500 conversations of the development set are there: 450 to learn from.

What it is not: a ranking of adapters for large models.

    SEPTET_DATA=../shared/data python bench/ladder.py [--sets sst2 conll] [--rungs lora full] [--home FOLDER] [--quick]
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import sys
import tempfile
from pathlib import Path
from typing import Any

import yaml
from common import machine, versions, write

from septet.core.recipe import Recipe
from septet.core.step import Runtime
from septet.core.store import Store
from septet.evals.stats import difference
from septet.launch.local import run_recipe
from septet.ops.report.ladder import Rung, draw

IMAGES = Path(__file__).parents[1] / "docs" / "images"
RUNGS = ("last-layers", "ia3", "prompt", "prefix", "lora", "qlora", "full")
CLASSES = "${SEPTET_DATA}/classification"
SETS: dict[str, dict[str, Any]] = {
    "sst2": {
        "kind": "lines",
        "train": f"{CLASSES}/sst2/stsa.binary.train.gz",
        "validation": f"{CLASSES}/sst2/stsa.binary.dev.gz",
        "test": f"{CLASSES}/sst2/stsa.binary.test.gz",
    },
    "trec": {
        "kind": "lines",
        "train": f"{CLASSES}/trec/TREC.train.gz",
        "test": f"{CLASSES}/trec/TREC.test.gz",
        "pattern": r"(?P<label>[A-Z]+):\w+ (?P<text>.+)",
        "encoding": "latin-1",
        "split": {"validation": 0.1},
    },
    "conll": {
        "kind": "conll",
        "train": "${SEPTET_DATA}/ner/conll2003/eng.train.gz",
        "validation": "${SEPTET_DATA}/ner/conll2003/eng.testa.gz",
        "test": "${SEPTET_DATA}/ner/conll2003/eng.testb.gz",
    },
    "squad": {
        "kind": "squad",
        "train": "${SEPTET_DATA}/qa/squad_v2_dev",
        "unanswerable": "drop",
        "split": {"validation": 0.15, "test": 0.15, "by": "group"},
    },
}
DIALOGUES = "${SEPTET_DATA}/summarization/dialogsum/dialogsum"
RECIPES: dict[str, tuple[str, str, dict[str, Any] | None]] = {
    "multi30k": ("translation", "captions", None),
    "scitldr": ("summaries", "papers", None),
    "dialogsum": (
        "summaries",
        "papers",
        {
            "kind": "table",
            "train": f"{DIALOGUES}.dev.jsonl.gz",
            "test": f"{DIALOGUES}.test.jsonl.gz",
            "split": {"validation": 0.1},
        },
    ),
}
"""The recipes that pre-train a model (the step `base`) and read rows, the name of that step, and what it reads here instead."""
PRETRAINING = 2_000_000
EPOCHS = {"sst2": 3, "trec": 5, "conll": 5, "squad": 3, "multi30k": 5, "scitldr": 5, "dialogsum": 10}
LONGEST = {"squad": 256, "scitldr": 256, "dialogsum": 256}


def recipe(
    name: str,
    *,
    rows: int,
    rungs: tuple[str, ...],
    seeds: list[int],
    rates: list[float],
    epochs: float,
    judged: int,
    brief: bool,
) -> Recipe:
    if name in RECIPES:
        file, data, instead = RECIPES[name]
        model = "base"
        text = (Path(__file__).parents[1] / "recipes" / f"{file}.yaml").read_text(encoding="utf-8")
        steps = yaml.safe_load(text)["steps"]
        task = next(step.get("task") for step in steps.values() if step["kind"] == "finetune")
        steps = {key: step for key, step in steps.items() if step["kind"] not in ("finetune", "evaluate")}
        steps["rows"] = {**steps.pop(data), **({"builder": instead} if instead else {})}
        steps[model]["tokens"] = 4000 if brief else PRETRAINING
    else:
        model, task = "minilm", None
        steps = {
            "minilm": {"kind": "checkpoint", "packaged": "minilm"},
            "rows": {"kind": "dataset", "builder": SETS[name]},
        }
    steps["ladder"] = {
        "kind": "adapt", "model": f"${model}", "data": "$rows", "rungs": list(rungs), "seeds": seeds, "limit": rows,
        "rates": rates, "epochs": epochs, "judged": judged, "max_tokens": LONGEST.get(name, 128),
        **({"task": task} if task else {}),
    }  # fmt: skip
    return Recipe.parse({"name": f"ladder-{name}", "steps": steps})


def bag_of_words(folder: Path, limit: int) -> float:
    """Return the test accuracy of logistic regression over counts of words and pairs."""
    from sklearn.feature_extraction.text import CountVectorizer
    from sklearn.linear_model import LogisticRegression

    def part(name: str) -> tuple[list[str], list[str]]:
        rows = [json.loads(line) for line in (folder / f"{name}.jsonl").read_text(encoding="utf-8").splitlines()]
        return [row["text"] for row in rows], [row["label"] for row in rows]

    texts, labels = part("train")
    counter = CountVectorizer(ngram_range=(1, 2), binary=True)
    x, y = counter.fit_transform(texts[:limit]), labels[:limit]
    held, test = part("held_out"), part("test")
    models = [LogisticRegression(C=strength, max_iter=2000).fit(x, y) for strength in (0.1, 1.0, 10.0)]
    best = max(models, key=lambda model: model.score(counter.transform(held[0]), held[1]))
    return float(best.score(counter.transform(test[0]), test[1]))


def four_bits(sets: dict[str, dict[str, Any]]) -> dict[str, Any] | None:
    """Return the row of QLoRA minus LoRA, over sets and seeds, with its 95 % interval; None where there are not two such pairs."""
    seeds: dict[str, list[float]] = {"qlora": [], "lora": []}
    for found in sets.values():
        values = {rung["name"]: rung["by_seed"] for rung in found["rungs"]}
        if seeds.keys() <= values.keys():
            for name, known in seeds.items():
                known += values[name]
    if len(seeds["lora"]) < 2:
        return None
    apart = difference(seeds["qlora"], seeds["lora"])
    return {
        "set": "all with MiniLM",
        "rung": "qlora - lora",
        "difference": apart.value,
        "low": apart.low,
        "high": apart.high,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sets", nargs="*", choices=[*SETS, *RECIPES], default=[*SETS, *RECIPES])
    parser.add_argument("--rungs", nargs="*", choices=RUNGS, default=list(RUNGS))
    parser.add_argument("--rows", type=int, default=2000, help="training rows, and at most so many that are judged")
    parser.add_argument("--seeds", type=int, default=2)
    parser.add_argument(
        "--rates", type=float, nargs="*", default=[0.2, 1.0], help="multiples of each rung's own learning rate"
    )
    parser.add_argument("--home", type=Path, help="where finished runs are kept; none: a temporary folder")
    parser.add_argument("--quick", action="store_true", help="48 rows, two rungs, one seed: does it run?")
    options = parser.parse_args()
    if "SEPTET_DATA" not in os.environ:
        raise SystemExit("SEPTET_DATA is not set; this benchmark reads the public sets.")
    rows, seeds, judged = (48, [0], 32) if options.quick else (options.rows, list(range(options.seeds)), options.rows)
    rungs, rates = (("last-layers", "lora"), [1.0]) if options.quick else (tuple(options.rungs), options.rates)
    shown: list[dict[str, Any]] = []
    raw: dict[str, Any] = {}
    facts = machine()
    with tempfile.TemporaryDirectory() as temporary:
        store = Store(options.home or Path(temporary))
        for name in options.sets:
            epochs = 1 if options.quick else EPOCHS[name]
            run_recipe(
                recipe(
                    name,
                    rows=rows,
                    rungs=rungs,
                    seeds=seeds,
                    rates=rates,
                    epochs=epochs,
                    judged=judged,
                    brief=options.quick,
                ),
                store,
                runtime=Runtime(device="cpu"),
                report=False,
            )
            made = store.resolve(f"ladder-{name}/ladder").path
            raw[name] = found = json.loads((made / "ladder.json").read_text(encoding="utf-8"))
            if not options.quick:
                rungs_found = [Rung(**rung) for rung in found["rungs"]]
                picture = draw(rungs_found, metric=found["metric"], recommended=found["recommended"])
                (IMAGES / f"ladder-{name}.svg").write_text(picture, encoding="utf-8")
            for rung in found["rungs"]:
                shown.append(
                    {
                        "set": name,
                        "rung": rung["name"] + (" (recommended)" if rung["name"] == found["recommended"] else ""),
                        found["metric"]: rung["value"],
                        "low": rung["low"],
                        "high": rung["high"],
                        "parameters": rung["parameters"],
                        "seconds": rung["seconds"],
                        "memory, MB": None if rung["peak_bytes"] is None else rung["peak_bytes"] / 1e6,
                        "on disk, MB": rung["bytes_on_disk"] / 1e6,
                        "a row, ms": rung["milliseconds"],
                    }
                )
                print(json.dumps(shown[-1]), flush=True)
            if name in ("sst2", "trec"):
                words = bag_of_words(store.resolve(f"ladder-{name}/rows").path, rows)
                raw[name]["bag_of_words"] = words
                shown.append({"set": name, "rung": "bag of words", found["metric"]: words})
    apart = four_bits({name: found for name, found in raw.items() if name in SETS})
    if apart is not None:
        shown.append(apart)
    result = {
        "title": "The ladder of adaptations with MiniLM and small T5s",
        "about": f"{rows:,} training rows, seeds: {len(seeds)}, the best of {len(rates)} learning rates on held-out rows; at most "
        f"{judged:,} test rows with 95 % intervals over rows. Memory is what training took above what the process held.",
        "command": " ".join(["SEPTET_DATA=... python bench/ladder.py", *sys.argv[1:]]).replace(
            str(options.home), "..."
        ),
        "rows": shown,
        "machine": facts,
        "versions": versions(),
        "seconds_of_training": statistics.fsum(rung["seconds"] for found in raw.values() for rung in found["rungs"]),
        "sets": raw,
    }
    if not options.quick:
        write("ladder", result)
    print(json.dumps(shown, indent=1))


if __name__ == "__main__":
    main()
