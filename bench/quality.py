"""Does pre-training help: seven families of about 4 M parameters, four minutes each on the same text, then two tasks.

Each family is trained from nothing on film reviews, novels, encyclopedia and web text with its own objective, for as many tokens as
it reads in --seconds; what a trial of some seconds reads sets the length, so a disturbed run is slower and not worse. Passages
of the tasks' validation and test rows are cut out of the text. Then the model is fine-tuned on SST-2 (sentiment) and TREC (kinds of
questions), 1,000 training rows each, and so is the same model with random weights. For both the rate is chosen on validation rows
with the first seed; the test rows are looked at with the rate chosen. The margin is paired over test rows and seeds, with its 95 %
bootstrap interval. A bag of words (logistic regression, its strength chosen on the same validation rows) stands beside.

What was finished is kept in --home, and a later call goes on from there.
What it is not: a ranking of families. Four minutes favour what learns from every token, and one text is one text.

    SEPTET_DATA=../shared/data python bench/quality.py [--home FOLDER] [--families bert t5] [--lengths] [--quick]
"""

from __future__ import annotations

import argparse
import contextlib
import gzip
import io
import json
import os
import statistics
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from common import machine, versions, write

from septet.core import registry
from septet.core.artifact import Artifact, write_json
from septet.core.recipe import Recipe
from septet.core.step import Runtime, Work
from septet.core.store import Store
from septet.data.batches import Batches
from septet.infer.tasks.classification import Classification as Task
from septet.launch.local import run_recipe
from septet.nn.family import Family
from septet.nn.heads import open_with_head
from septet.nn.model import Model
from septet.ops.report import charts
from septet.ops.report.charts import Span, spans
from septet.train.loop import fit
from septet.train.objectives.classification import Classification
from septet.train.plan import Plan
from septet.train.schedules.linear import Linear

FAMILIES = ("bert", "roberta", "xlnet", "gpt2", "llama", "t5", "bart")
VOCABULARY, CONTEXT, DEPTH, PARAMETERS, BATCH_TOKENS = 8192, 128, 4, 4_000_000, 1024
TRAINING, BATCH, EPOCHS, MOST = 1000, 16, 5, 64
RATES = (3e-4, 1e-3)
SEEDS = (0, 1, 2)
ARMS = ("pre-trained", "random weights")
PICTURE = Path(__file__).parents[1] / "docs" / "images" / "quality.svg"
CLASSES = "${SEPTET_DATA}/classification"
PRETRAINING = "${SEPTET_DATA}/pretraining"
TEXTS: dict[str, dict[str, Any]] = {
    "reviews": {"kind": "text", "path": f"{CLASSES}/movie_reviews_long", "pattern": "**/*cv*.txt"},
    "novels": {"kind": "text", "path": f"{PRETRAINING}/english_novels", "pattern": "[A-B]*", "split": "paragraph"},
    "web": {"kind": "jsonl", "path": f"{PRETRAINING}/c4_and_wiki_samples/c4_demo.jsonl.gz"},
    "wiki": {"kind": "text", "path": f"{PRETRAINING}/wikitext2_eval", "split": "paragraph"},
}
JUDGED_ON = ("sst2/stsa.binary.dev.gz", "sst2/stsa.binary.test.gz", "trec/TREC.test.gz")
HIDDEN = {"kind": "masked-lm", "share": 0.3}  # more than BERT's .15, since the tokens are few


# -- the tasks ----------------------------------------------------------------------------------------------------------


def lines(path: Path, encoding: str = "utf-8") -> list[str]:
    with gzip.open(path, "rt", encoding=encoding) as file:
        return [line.rstrip("\n") for line in file if line.strip()]


def tasks(data: Path) -> dict[str, dict[str, list[tuple[str, str]]]]:
    """Return, by task, the parts train, validation and test as (text, label)."""
    sst = data / "classification" / "sst2"
    parts = {"train": "train", "validation": "dev", "test": "test"}
    sentiment = {
        part: [(line[2:], line[0]) for line in lines(sst / f"stsa.binary.{name}.gz")] for part, name in parts.items()
    }
    trec = data / "classification" / "trec"

    def questions(name: str, encoding: str) -> list[tuple[str, str]]:
        return [(line.split(" ", 1)[1], line.split(":", 1)[0]) for line in lines(trec / name, encoding)]

    rows = questions("TREC.train.gz", "latin-1")
    order = np.random.default_rng(0).permutation(len(rows))
    kinds = {
        "train": [rows[i] for i in order[500:]],
        "validation": [rows[i] for i in order[:500]],
        "test": questions("TREC.test.gz", "utf-8"),
    }
    return {"SST-2": sentiment, "TREC": kinds}


def training(rows: list[tuple[str, str]], seed: int) -> list[tuple[str, str]]:
    """Return the rows that a seed trains on: other rows for every seed."""
    order = np.random.default_rng([7, seed]).permutation(len(rows))[:TRAINING]
    return [rows[i] for i in order]


# -- the models ---------------------------------------------------------------------------------------------------------


def width_of(family: str) -> int:
    """Return the width, a multiple of 32, whose model at depth 4 has nearest to 4 M parameters."""
    found = registry.find(Family.drawer, family, family=Family)()
    assert isinstance(found, Family)

    def parameters(width: int) -> int:
        tables = VOCABULARY * width * (2 if family == "xlnet" else 1)
        stacks = 2.5 if found.architecture == "encoder-decoder" else 1
        return int(tables + stacks * found.matrices(DEPTH, width, found.sizes(DEPTH, width)["feed_forward"]))

    return min(range(96, 385, 32), key=lambda width: abs(parameters(width) - PARAMETERS))


def recipe(family: str, tokens: int) -> Recipe:
    kinds = {"bert": "wordpiece", "xlnet": "unigram", "t5": "unigram"}
    width = width_of(family)
    base = {
        "kind": "pretrain", "corpus": "$text", "tokenizer": "$vocab", "family": family, "depth": DEPTH, "width": width,
        "heads": width // 32, "context": CONTEXT, "batch_tokens": BATCH_TOKENS, "tokens": tokens, "compile": False,
    }  # fmt: skip
    if family in ("bert", "roberta"):
        base["objective"] = HIDDEN
    vocab = {
        "kind": "tokenizer", "corpus": "$text", "model": kinds.get(family, "bpe"), "family": family, "size": VOCABULARY,
    }  # fmt: skip
    clean = {
        "kind": "decontaminate",
        "mode": "cut",
        "min_chars": 100,
        "against": [f"{CLASSES}/{name}" for name in JUDGED_ON],
    }
    text = {
        "kind": "corpus", "source": {"kind": "several", "of": TEXTS}, "filters": ["normalise", "exact-dedup", clean],
        "held_out": {"share": 0.01},
    }  # fmt: skip
    return Recipe.parse({"name": f"quality-{family}", "steps": {"text": text, "vocab": vocab, "base": base}})


def trained(store: Store, family: str, tokens: int) -> Artifact:
    with contextlib.redirect_stdout(io.StringIO()):
        run_recipe(recipe(family, tokens), store, runtime=Runtime(device="cpu"), report=False)
    return store.resolve(f"quality-{family}/base")


def length(store: Store, family: str, seconds: float) -> int:
    """Return the tokens that a family reads in `seconds`, as its first ones were read; measured once for a store."""
    path = store.home / f"length-{family}-{seconds:.0f}.json"
    if not path.exists():
        rate = trained(store, family, 96 * BATCH_TOKENS).facts["tokens_per_second"]
        write_json(path, {"tokens_per_second": rate, "tokens": int(rate * seconds)})
    return int(json.loads(path.read_text(encoding="utf-8"))["tokens"])


def pretrained(store: Store, family: str, seconds: float) -> tuple[Path, dict[str, Any]]:
    made = trained(store, family, length(store, family, seconds))
    facts = {name: made.facts[name] for name in ("parameters", "tokens", "training_seconds", "objective", "epochs")}
    figures = {name: value for name, value in made.facts.items() if name.endswith("bits_per_byte")}
    return made.path, {**facts, **figures}


def rows_for(model: Model, rows: list[tuple[str, str]]) -> list[Any]:
    numbered = ((number, {"text": text, "label": label}) for number, (text, label) in enumerate(rows, start=1))
    return Task(too_long="cut").encode(numbered, model, max_tokens=MOST)[0]


def right(model: Model, rows: list[tuple[str, str]]) -> np.ndarray:
    """Return for each row whether its label was the likeliest."""
    found = Task().predict(model, [{"text": text} for text, _ in rows], max_tokens=MOST)
    return np.array([one.prediction == label for one, (_, label) in zip(found, rows, strict=True)])


def finetuned(
    folder: Path, parts: dict[str, list[tuple[str, str]]], labels: list[str], *, anew: bool, rate: float, seed: int
) -> Model:
    torch.manual_seed(seed)
    model = open_with_head(folder, "classes", labels, anew=anew, seed=seed)
    objective = Classification().suited(model.architecture)
    rows = rows_for(model, training(parts["train"], seed))
    steps = EPOCHS * len(rows) // BATCH
    plan = Plan(steps=steps, learning_rate=rate, schedule=Linear(warmup=steps // 10), seed=seed, checkpoint_every=10**9)
    with tempfile.TemporaryDirectory() as place:
        work = Work(out=Path(place), state=Path(place), runtime=Runtime(device="cpu"))
        fit(model, objective, Batches(rows, BATCH, seed=seed), plan, work=work)
    return model


def measured(
    folder: Path, parts: dict[str, list[tuple[str, str]]], labels: list[str], *, anew: bool, seeds: tuple[int, ...]
) -> tuple[np.ndarray, float]:
    """Return for each seed and test row whether it was right [S, N], and the rate that was chosen on validation rows."""
    found: list[np.ndarray] = []
    best, rate = -1.0, RATES[0]
    for tried in RATES:
        model = finetuned(folder, parts, labels, anew=anew, rate=tried, seed=seeds[0])
        score = float(right(model, parts["validation"]).mean())
        if score > best:
            best, rate = score, tried
            found = [right(model, parts["test"])]
    for seed in seeds[1:]:
        model = finetuned(folder, parts, labels, anew=anew, rate=rate, seed=seed)
        found.append(right(model, parts["test"]))
    return np.stack(found), rate


def margin(first_SN: np.ndarray, second_SN: np.ndarray, draws: int = 4000) -> dict[str, float]:
    """Return the difference of two accuracies with its 95 % interval; seeds and test rows are drawn again together."""
    rng = np.random.default_rng(0)
    difference = first_SN.astype(float) - second_SN
    seeds, rows = difference.shape
    means = [difference[rng.integers(0, seeds, seeds)][:, rng.integers(0, rows, rows)].mean() for _ in range(draws)]
    low, high = np.quantile(means, [0.025, 0.975])
    return {"margin": float(difference.mean()), "low": float(low), "high": float(high)}


def bag_of_words(parts: dict[str, list[tuple[str, str]]], seeds: tuple[int, ...]) -> float:
    """Return the test accuracy, mean over the seeds' training rows, of logistic regression over counts of words and pairs."""
    from sklearn.feature_extraction.text import CountVectorizer
    from sklearn.linear_model import LogisticRegression

    found = []
    for seed in seeds:
        rows = training(parts["train"], seed)
        counter = CountVectorizer(ngram_range=(1, 2), binary=True)
        x, y = counter.fit_transform([text for text, _ in rows]), [label for _, label in rows]

        def score(model: Any, part: str, counter: Any = counter) -> float:
            return float(
                model.score(counter.transform([t for t, _ in parts[part]]), [label for _, label in parts[part]])
            )

        models = [LogisticRegression(C=strength, max_iter=2000).fit(x, y) for strength in (0.1, 1.0, 10.0)]
        found.append(score(max(models, key=lambda model: score(model, "validation")), "test"))
    return statistics.mean(found)


def compared(folder: Path, parts: dict[str, list[tuple[str, str]]], *, seeds: tuple[int, ...]) -> dict[str, Any]:
    """Return both arms of one family and task: pre-trained and random weights, and the margin between them."""
    labels = sorted({label for _, label in parts["train"]})
    started = time.perf_counter()
    arms = {name: measured(folder, parts, labels, anew=name != ARMS[0], seeds=seeds) for name in ARMS}
    return {
        "margin": margin(arms[ARMS[0]][0], arms[ARMS[1]][0]),
        "rates": {name: rate for name, (_, rate) in arms.items()},
        "accuracy": {name: values.mean(axis=1).tolist() for name, (values, _) in arms.items()},
        "seconds": time.perf_counter() - started,
    }


def picture(rows: list[dict[str, Any]]) -> str:
    """Return an SVG: for each family and task the margin over random weights with its interval."""
    found = [
        Span(
            f"{row['family']}, {row['task']}",
            row["margin"],
            row["low"],
            row["high"],
            "a" if row["task"] == "SST-2" else "b",
        )
        for row in rows
        if "margin" in row
    ]
    chart = spans(found, title="Test accuracy above the same model from random weights", unit="accuracy", places=3)
    start, rest = str(chart).split(">", 1)
    style = Path(charts.__file__).with_name("page.css").read_text(encoding="utf-8")
    return f'{start} xmlns="http://www.w3.org/2000/svg"><style>{style}</style>{rest}\n'


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--families", nargs="*", choices=FAMILIES, default=FAMILIES)
    parser.add_argument("--seconds", type=float, default=240)
    parser.add_argument("--home", type=Path, help="where finished work is kept; none: a temporary folder")
    parser.add_argument(
        "--lengths", action="store_true", help="only measure how much each family reads, which wants a quiet machine"
    )
    parser.add_argument("--quick", action="store_true", help="two seconds of training, one seed: does it run?")
    options = parser.parse_args()
    if "SEPTET_DATA" not in os.environ:
        raise SystemExit("SEPTET_DATA is not set; this benchmark reads the public sets (docs/guides/data.md).")
    seconds, seeds = (2.0, SEEDS[:1]) if options.quick else (options.seconds, SEEDS)
    facts = machine()
    sets = tasks(Path(os.environ["SEPTET_DATA"]))
    if options.quick:
        sets = {name: {part: rows[:200] for part, rows in parts.items()} for name, parts in sets.items()}
    shown: list[dict[str, Any]] = []
    raw: dict[str, Any] = {}
    with tempfile.TemporaryDirectory() as temporary:
        store = Store(options.home or Path(temporary))
        store.home.mkdir(parents=True, exist_ok=True)
        for family in options.families:
            tokens = length(store, family, seconds)
            print(f"{family}: {tokens:,} tokens", flush=True)
        if options.lengths:
            return
        for family in options.families:
            folder, about = pretrained(store, family, seconds)
            raw[family] = {"pretraining": about}
            for task, parts in sets.items():
                kept = store.home / f"{folder.name}-{task}.json"
                if not kept.exists():
                    write_json(kept, compared(folder, parts, seeds=seeds))
                found = raw[family][task] = json.loads(kept.read_text(encoding="utf-8"))
                accuracy = {name: statistics.mean(found["accuracy"][name]) for name in ARMS}
                shown.append({"family": family, "task": task, **accuracy, **found["margin"]})
                print(json.dumps(shown[-1]), flush=True)
    for task, parts in sets.items():
        shown.append({"family": "bag of words", "task": task, ARMS[0]: bag_of_words(parts, seeds)})
    result = {
        "title": "Quality: four minutes of pre-training against random weights",
        "about": f"About 4 M parameters, {seconds:.0f} s of training on film reviews, novels, encyclopedia and web text; test "
        f"accuracy after fine-tuning on {TRAINING:,} rows, mean over {len(seeds)} seeds; the margin with its 95 % interval over "
        "seeds and rows.",
        "command": "SEPTET_DATA=... make bench BENCH=quality",
        "rows": shown,
        "machine": facts,
        "versions": versions(),
        "families": raw,
    }
    if not options.quick and tuple(options.families) == FAMILIES:
        write("quality", result)
        PICTURE.write_text(picture(shown), encoding="utf-8")
    print(json.dumps(shown, indent=1))


if __name__ == "__main__":
    main()
