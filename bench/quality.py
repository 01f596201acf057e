"""Does pre-training help: seven families of about 4 M parameters, four minutes each on the same text, then two tasks.

Each family is trained from nothing on film reviews, novels, encyclopedia and web text with its own objective, for as many tokens as
it reads in --seconds; what a trial of some seconds reads sets the length, so a disturbed run is slower and not worse. Passages
of the tasks' validation and test rows are cut out of the text. Then the model is fine-tuned on CoNLL-2003 (which kinds of names a
sentence holds: none, one or several of four; all must be right) and TREC (what a question asks for), 1,000 training rows each, and
so is the same model with random weights. For both the rate is chosen on validation rows with the first seed; the test rows are
looked at with the rate chosen. The margin is paired over test rows and seeds, with its 95 % bootstrap interval. A bag of words
(logistic regression, its strength chosen on the same validation rows) stands beside. Sentiment is no task here: four minutes do not
teach it (docs/log.md).

What was finished is kept in --home, and a later call goes on from there.
What it is not: a ranking of families. Four minutes favour what learns from every token, and one text is one text.

    SEPTET_DATA=../shared/data python bench/quality.py [--home FOLDER] [--families bert t5] [--lengths] [--quick]
"""

from __future__ import annotations

import argparse
import contextlib
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
from septet.data.builder import Builder
from septet.data.examples import labels_of
from septet.infer.labelling import TextTask
from septet.infer.tasks.classification import Classification
from septet.infer.tasks.multi_label import MultiLabel
from septet.launch.local import run_recipe
from septet.nn.family import Family
from septet.nn.heads import open_with_head
from septet.nn.model import Model
from septet.ops.report import charts
from septet.ops.report.charts import Span, spans
from septet.train.loop import fit
from septet.train.objective import Objective
from septet.train.plan import Plan
from septet.train.schedules.linear import Linear

Row = tuple[str, str | tuple[str, ...]]
"""A text, and its label or labels."""
FAMILIES = ("bert", "roberta", "xlnet", "gpt2", "llama", "t5", "bart")
VOCABULARY, CONTEXT, DEPTH, PARAMETERS, BATCH_TOKENS = 8192, 128, 4, 4_000_000, 1024
TRAINING, BATCH, EPOCHS, MOST = 1000, 16, 5, 64
PRETRAINING_RATE = 0.002
"""Of all families; a fifth of the dial's, with which Llama gained nothing that fine-tuning could use (docs/log.md)."""
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
JUDGED = "judged.txt"
"""Validation and test rows of both tasks, in the folder where finished work is kept: their passages are cut out of the text."""
HIDDEN = {"kind": "masked-lm", "share": 0.3}  # more than BERT's .15, since the tokens are few


# -- the tasks ----------------------------------------------------------------------------------------------------------


def tasks(data: Path) -> dict[str, tuple[TextTask, dict[str, list[Row]]]]:
    """Return, by name, the task and its parts train, validation and test as (text, label or labels)."""
    news = Builder.parse({
        "kind": "conll", **{part: str(data / "ner" / "conll2003" / f"eng.{name}.gz")
        for part, name in (("train", "train"), ("validation", "testa"), ("test", "testb"))},
    }).build([], [], seed=0)  # fmt: skip
    names: dict[str, list[Row]] = {
        part: [(" ".join(row["words"]), tuple(labels_of(row))) for row in rows]
        for part, rows in (("train", news.train), ("validation", news.held_out[:1000]), ("test", news.test))
    }
    trec = data / "classification" / "trec"
    asked = Builder.parse({
        "kind": "lines", "train": str(trec / "TREC.train.gz"), "encoding": "latin-1", "test": str(trec / "TREC.test.gz"),
        "pattern": r"(?P<label>[A-Z]+):\S+ (?P<text>.+)", "split": {"validation": 0},
    }).build([], [], seed=0)  # fmt: skip
    rows: list[Row] = [(str(row["text"]), str(row["label"])) for row in asked.train]
    kinds = {
        # 500 test questions cannot tell two hundredths: most of the training questions are looked at as well, and not trained on
        "train": rows[:2000],
        "validation": rows[2000:2500],
        "test": rows[2500:] + [(str(row["text"]), str(row["label"])) for row in asked.test],
    }
    return {
        "CoNLL-2003": (MultiLabel(too_long="cut"), names),
        "TREC": (Classification(too_long="cut"), kinds),
    }


def training(rows: list[Row], seed: int) -> list[Row]:
    """Return the rows that a seed trains on: other rows for every seed."""
    order = np.random.default_rng([7, seed]).permutation(len(rows))[:TRAINING]
    return [rows[i] for i in order]


# -- the models ---------------------------------------------------------------------------------------------------------


def width_of(family: str) -> int:
    """Return the width, a multiple of 32, whose model at depth 4 has nearest to 4 M parameters."""
    found = registry.find(Family.drawer, family, family=Family)()
    assert isinstance(found, Family)

    def parameters(width: int) -> int:
        return VOCABULARY * width + found.matrices(DEPTH, width, found.sizes(DEPTH, width)["feed_forward"])

    return min(range(96, 385, 32), key=lambda width: abs(parameters(width) - PARAMETERS))


def recipe(family: str, tokens: int, judged: Path) -> Recipe:
    kinds = {"bert": "wordpiece", "xlnet": "unigram", "t5": "unigram"}
    width = width_of(family)
    base = {
        "kind": "pretrain", "corpus": "$text", "tokenizer": "$vocab", "family": family, "depth": DEPTH, "width": width,
        "heads": width // 32, "context": CONTEXT, "batch_tokens": BATCH_TOKENS, "tokens": tokens,
        "learning_rate": PRETRAINING_RATE, "compile": False,
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
        "against": [str(judged)],
    }
    text = {
        "kind": "corpus", "source": {"kind": "several", "of": TEXTS}, "filters": ["normalise", "exact-dedup", clean],
        "held_out": {"share": 0.01},
    }  # fmt: skip
    return Recipe.parse({"name": f"quality-{family}", "steps": {"text": text, "vocab": vocab, "base": base}})


def trained(store: Store, family: str, tokens: int) -> Artifact:
    with contextlib.redirect_stdout(io.StringIO()):
        run_recipe(recipe(family, tokens, store.home / JUDGED), store, runtime=Runtime(device="cpu"), report=False)
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


def as_row(row: Row) -> dict[str, Any]:
    text, target = row
    return {"text": text, "label": target} if isinstance(target, str) else {"text": text, "labels": list(target)}


def right(task: TextTask, model: Model, rows: list[Row]) -> np.ndarray:
    """Return for each row whether its label was the likeliest, or all of its labels and no others were predicted."""
    found = task.predict(model, [{"text": text} for text, _ in rows], max_tokens=MOST)
    return np.array([
        one.prediction == target if isinstance(target, str) else set(one.prediction) == set(target)
        for one, (_, target) in zip(found, rows, strict=True)
    ])  # fmt: skip


def finetuned(
    folder: Path, task: TextTask, parts: dict[str, list[Row]], labels: list[str], *, anew: bool, rate: float, seed: int
) -> Model:
    torch.manual_seed(seed)
    model = open_with_head(folder, task.head, labels, anew=anew, seed=seed)
    objective = Objective.parse(task.taught_by(model)).suited(model.architecture)
    chosen = ((number, as_row(row)) for number, row in enumerate(training(parts["train"], seed), start=1))
    rows = task.encode(chosen, model, max_tokens=MOST)[0]
    task.begin(model, rows)
    steps = EPOCHS * len(rows) // BATCH
    plan = Plan(steps=steps, learning_rate=rate, schedule=Linear(warmup=steps // 10), seed=seed, checkpoint_every=10**9)
    with tempfile.TemporaryDirectory() as place:
        work = Work(out=Path(place), state=Path(place), runtime=Runtime(device="cpu"))
        fit(model, objective, Batches(rows, BATCH, seed=seed), plan, work=work)
    return model


def measured(
    folder: Path, task: TextTask, parts: dict[str, list[Row]], labels: list[str], *, anew: bool, seeds: tuple[int, ...]
) -> tuple[np.ndarray, float]:
    """Return for each seed and test row whether it was right [S, N], and the rate that was chosen on validation rows."""
    found: list[np.ndarray] = []
    best, rate = -1.0, RATES[0]
    for tried in RATES:
        model = finetuned(folder, task, parts, labels, anew=anew, rate=tried, seed=seeds[0])
        score = float(right(task, model, parts["validation"]).mean())
        if score > best:
            best, rate = score, tried
            found = [right(task, model, parts["test"])]
    for seed in seeds[1:]:
        model = finetuned(folder, task, parts, labels, anew=anew, rate=rate, seed=seed)
        found.append(right(task, model, parts["test"]))
    return np.stack(found), rate


def margin(first_SN: np.ndarray, second_SN: np.ndarray, draws: int = 4000) -> dict[str, float]:
    """Return the difference of two accuracies with its 95 % interval; seeds and test rows are drawn again together."""
    rng = np.random.default_rng(0)
    difference = first_SN.astype(float) - second_SN
    seeds, rows = difference.shape
    means = [difference[rng.integers(0, seeds, seeds)][:, rng.integers(0, rows, rows)].mean() for _ in range(draws)]
    low, high = np.quantile(means, [0.025, 0.975])
    return {"margin": float(difference.mean()), "low": float(low), "high": float(high)}


def bag_of_words(parts: dict[str, list[Row]], seeds: tuple[int, ...]) -> float:
    """Return the test accuracy, mean over the seeds' training rows, of logistic regression over counts of words and pairs."""
    from sklearn.feature_extraction.text import CountVectorizer
    from sklearn.linear_model import LogisticRegression
    from sklearn.multiclass import OneVsRestClassifier
    from sklearn.preprocessing import MultiLabelBinarizer

    several = not isinstance(parts["train"][0][1], str)
    binary = MultiLabelBinarizer().fit([target for _, target in parts["train"]]) if several else None

    def targets(rows: list[Row]) -> Any:
        return [target for _, target in rows] if binary is None else binary.transform([target for _, target in rows])

    found = []
    for seed in seeds:
        rows = training(parts["train"], seed)
        counter = CountVectorizer(ngram_range=(1, 2), binary=True)
        x, y = counter.fit_transform([text for text, _ in rows]), targets(rows)

        def score(model: Any, part: str, counter: Any = counter) -> float:
            return float(model.score(counter.transform([text for text, _ in parts[part]]), targets(parts[part])))

        kinds = (LogisticRegression(C=strength, max_iter=2000) for strength in (0.1, 1.0, 10.0))
        models = [(OneVsRestClassifier(one) if several else one).fit(x, y) for one in kinds]
        found.append(score(max(models, key=lambda model: score(model, "validation")), "test"))
    return statistics.mean(found)


def compared(folder: Path, task: TextTask, parts: dict[str, list[Row]], *, seeds: tuple[int, ...]) -> dict[str, Any]:
    """Return both arms of one family and task: pre-trained and random weights, and the margin between them."""
    targets = [target for _, target in parts["train"]]
    labels = sorted({label for target in targets for label in ([target] if isinstance(target, str) else target)})
    started = time.perf_counter()
    arms = {name: measured(folder, task, parts, labels, anew=name != ARMS[0], seeds=seeds) for name in ARMS}
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
            "a" if row["task"] == "TREC" else "b",
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
        sets = {
            name: (task, {part: rows[:200] for part, rows in parts.items()}) for name, (task, parts) in sets.items()
        }
    shown: list[dict[str, Any]] = []
    raw: dict[str, Any] = {}
    with tempfile.TemporaryDirectory() as temporary:
        store = Store(options.home or Path(temporary))
        store.home.mkdir(parents=True, exist_ok=True)
        judged = [text for _, parts in sets.values() for part in ("validation", "test") for text, _ in parts[part]]
        (store.home / JUDGED).write_text("\n".join(judged) + "\n", encoding="utf-8")
        for family in options.families:
            tokens = length(store, family, seconds)
            print(f"{family}: {tokens:,} tokens", flush=True)
        if options.lengths:
            return
        for family in options.families:
            folder, about = pretrained(store, family, seconds)
            raw[family] = {"pretraining": about}
            for name, (task, parts) in sets.items():
                kept = store.home / f"{folder.name}-{name}.json"
                if not kept.exists():
                    write_json(kept, compared(folder, task, parts, seeds=seeds))
                found = raw[family][name] = json.loads(kept.read_text(encoding="utf-8"))
                accuracy = {arm: statistics.mean(found["accuracy"][arm]) for arm in ARMS}
                shown.append({"family": family, "task": name, **accuracy, **found["margin"]})
                print(json.dumps(shown[-1]), flush=True)
    for name, (_, parts) in sets.items():
        shown.append({"family": "bag of words", "task": name, ARMS[0]: bag_of_words(parts, seeds)})
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
