"""Our loop beside the Hugging Face Trainer for one model of each family, each with its own objective.

Depth 4, width 256, a vocabulary of 8,192, context 256, 8 rows a step; AdamW, clipping 1.0, a constant rate, bfloat16 where it is
native, float32 weights. Rows hold one text each, as long as the row, so that the Trainer needs no mask between documents; both
sides make their batches with the same code (the Trainer in its collator, as its users do). Each side runs as it is and compiled;
its best is what is compared, in alternating rounds, each run in a process of its own. The first steps are left out.

What it is not: a benchmark of packing; with short documents the Trainer would see padding or neighbours besides.

    make bench BENCH=families            python bench/families.py [--families bert t5] [--pairs 3] [--quick]
"""

from __future__ import annotations

import argparse
import json
import shutil
import statistics
import tempfile
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import torch
from common import alone, machine, median_ratio, versions, write

from septet.core import registry
from septet.core.step import Runtime, Work
from septet.data.packing import Row, pack, text_sample
from septet.nn.device import bfloat16_is_native, pick_device
from septet.nn.family import Family
from septet.nn.model import Model
from septet.train.loop import fit
from septet.train.objective import Batch, Objective, generators
from septet.train.plan import Plan
from septet.train.schedules.constant import Constant
from train import RATE, ROWS, Marks, Ordered, Rows, peer_arguments

VOCABULARY, WIDTH, DEPTH, CONTEXT = 8192, 256, 4, 256
FAMILIES = ("bert", "roberta", "xlnet", "gpt2", "llama", "falcon", "t5", "bart")
SENTINELS = 100


class Tokenizer(SimpleNamespace):
    """Special tokens by role, and T5's sentinels at the end of the vocabulary; the rest is a word each."""

    def __len__(self) -> int:
        return VOCABULARY

    def get_vocab(self) -> dict[str, int]:
        return {f"<extra_id_{number}>": VOCABULARY - SENTINELS + number for number in range(SENTINELS)}

    def convert_ids_to_tokens(self, ids: list[int]) -> list[str]:
        return [f"w{id}{'.' if id % 20 == 0 else ''}" for id in ids]


def tokenizer_of(family: str) -> Tokenizer:
    roles = {"pad": 0, "eos": 1, "bos": None if family == "t5" else 2, "cls": 3, "sep": 4, "mask": 5, "unk": 6}
    ids = {f"{role}_token_id": id for role, id in roles.items()}
    return Tokenizer(all_special_ids=list(range(7)), model_max_length=CONTEXT, **ids)


def made(family: str) -> tuple[Model, Objective]:
    found = registry.find(Family.drawer, family, family=Family)()
    assert isinstance(found, Family)
    # the pairs of BERT's own objective are no work of the loop's; both sides learn masked words
    kind = "masked-lm" if family == "bert" else found.objective
    tokenizer = tokenizer_of(family)
    dial = found.dial(DEPTH, vocabulary=VOCABULARY).with_(
        width=WIDTH, heads=4, feed_forward=found.sizes(DEPTH, WIDTH)["feed_forward"], context=CONTEXT
    )
    torch.manual_seed(0)
    return Model(found.build(found.config(dial, tokenizer)), tokenizer), Objective.parse(kind).suited(
        found.architecture
    )


def rows_of(objective: Objective, count: int) -> list[Row]:
    """One text a row, tokens by Zipf's law: work, not language."""
    rng = np.random.default_rng(0)
    share = 1 / np.arange(1, VOCABULARY - SENTINELS - 6)
    room = CONTEXT - objective.around
    words = np.arange(7, VOCABULARY - SENTINELS)
    texts = [rng.choice(words, room - 1, p=share / share.sum()) for _ in range(count)]
    return pack([text_sample(text.tolist(), separator=1) for text in texts], room, pad=0)[0]


@dataclass(frozen=True)
class Run:
    """One run."""

    rows_per_second: float
    peak_megabytes: float


def run_arm(arm: str, family: str, steps: int, skip: int) -> float:
    """One run, in this process; rows a second."""
    side = run_ours if arm.startswith("ours") else run_trainer
    return side(family, rows_of(made(family)[1], steps * ROWS), steps, skip, compile=arm.endswith("compiled"))


def run_ours(family: str, rows: list[Row], steps: int, skip: int, *, compile: bool) -> float:
    """Return rows a second."""
    marks: list[float] = []
    model, objective = made(family)
    folder = Path(tempfile.mkdtemp())
    plan = Plan(steps=steps, learning_rate=RATE, schedule=Constant(warmup=0), compile=compile, checkpoint_every=10**9)
    work = Work(out=folder, state=folder, runtime=Runtime(), emit=lambda event: marks.append(time.perf_counter()))
    fit(model, objective, Rows(rows), plan, work=work)
    shutil.rmtree(folder)
    return (len(marks) - skip) * ROWS / (marks[-1] - marks[skip - 1])


def as_transformers_takes_it(model: Model, batch: Batch) -> dict[str, torch.Tensor]:
    """Return what the model's own forward pass computes the same loss from; no mask, since nothing needs one."""
    given = {
        name: value for name, value in batch.inputs.items() if "documents" not in name and "position_ids" not in name
    }
    labels = batch.labels
    assert labels is not None
    if model.architecture == "decoder":  # it shifts the labels itself
        labels = torch.cat([torch.full_like(labels[:, :1], -100), labels[:, :-1]], dim=1)
    return {**given, "labels": labels}


def run_trainer(family: str, rows: list[Row], steps: int, skip: int, *, compile: bool) -> float:
    """Return rows a second."""
    marks, folder = Marks(), tempfile.mkdtemp()
    model, objective = made(family)
    count = 0

    def collate(some: list[Row]) -> dict[str, torch.Tensor]:
        nonlocal count
        count += 1
        return as_transformers_takes_it(
            model, objective.prepare(some, model.tokenizer, generators(len(some), 0, count))
        )

    arguments = peer_arguments(folder, steps, bf16=bfloat16_is_native(pick_device()), compile=compile)
    Ordered(model=model.module, args=arguments, train_dataset=rows, data_collator=collate, callbacks=[marks]).train()
    shutil.rmtree(folder, ignore_errors=True)
    return (len(marks.times) - 1 - skip) * ROWS / (marks.times[-1] - marks.times[skip])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--families", nargs="*", choices=FAMILIES, default=FAMILIES)
    parser.add_argument("--pairs", type=int, default=3)
    parser.add_argument("--steps", type=int, default=24)
    parser.add_argument("--quick", action="store_true", help="one round of six steps, nothing compiled: does it run?")
    options = parser.parse_args()
    pairs, steps, skip = (1, 6, 2) if options.quick else (options.pairs, options.steps, 6)
    facts = machine()
    ways = (False,) if options.quick or shutil.which("c++") is None else (False, True)
    arms = [f"{side}{', compiled' if way else ''}" for side in ("ours", "trainer") for way in ways]
    shown, raw = [], {}
    for family in options.families:
        found: dict[str, list[Run]] = {arm: [] for arm in arms}
        failed: dict[str, str] = {}
        for pair in range(pairs):
            for arm in arms if pair % 2 == 0 else reversed(arms):
                try:
                    run, peak = alone(run_arm, arm, family, steps, skip)
                except Exception as error:  # a peer that does not compile a family is a result, and the rest goes on
                    failed[arm] = str(error).splitlines()[0][:200]
                    continue
                found[arm].append(Run(run, peak / 1e6))
                print(json.dumps({"family": family, "pair": pair, "arm": arm, **asdict(found[arm][-1])}), flush=True)
        best = {
            side: max(
                (runs for arm, runs in found.items() if arm.startswith(side) and len(runs) == pairs),
                key=lambda runs: statistics.median(run.rows_per_second for run in runs),
            )
            for side in ("ours", "trainer")
        }
        ours, theirs = ([run.rows_per_second for run in best[side]] for side in ("ours", "trainer"))
        ratio = median_ratio(ours, theirs)
        objective = made(family)[1].kind
        raw[family] = {
            "objective": objective,
            "runs": {arm: [asdict(run) for run in runs] for arm, runs in found.items()},
            "ratio": ratio,
            "failed": failed,
        }
        shown.append(
            {
                "family": family,
                "objective": objective,
                "ours, tokens a second": statistics.median(ours) * CONTEXT,
                "Trainer, tokens a second": statistics.median(theirs) * CONTEXT,
                "ratio": ratio["ratio"],
                "low": ratio["low"],
                "high": ratio["high"],
                "ours, peak MB": statistics.median(run.peak_megabytes for run in best["ours"]),
                "Trainer, peak MB": statistics.median(run.peak_megabytes for run in best["trainer"]),
            }
        )
    result = {
        "title": "Training each family: our loop beside the Hugging Face Trainer",
        "about": f"Depth {DEPTH}, width {WIDTH}, a vocabulary of {VOCABULARY:,}, {ROWS} rows of {CONTEXT} tokens a step, AdamW; "
        "each side's best of compiled and not. Making the batches counts on both sides.",
        "command": "make bench BENCH=families",
        "rows": shown,
        "machine": facts,
        "versions": versions(),
        "families": raw,
    }
    if not options.quick:
        write("families", result)
    print(json.dumps(shown, indent=1))


if __name__ == "__main__":
    main()
