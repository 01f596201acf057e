"""Our training loop beside the Hugging Face Trainer, on the same work.

Both train the same 13.8 M-parameter Llama from the same first weights on the same packed rows and position ids, with float32
master weights and AdamW states, clipping 1.0 and a constant rate; the losses must agree within 1e-2 at the last step. Runs of
ours and of the Trainer alternate; the figure is the median ratio of tokens per second over the pairs, with its interval. The
first steps (compilation, warm-up) are timed apart. Each run is a process of its own. The ceiling is the time that the model's own
matrix products take alone; the median of three measurements, before, between and after the pairs.

What it is not: a benchmark of models; the loss only shows that both did the same.

    python bench/train.py [--pairs 7] [--quick] [--peer best]
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import statistics
import tempfile
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import torch
from common import alone, machine, median_ratio, versions, write
from transformers import LlamaConfig, LlamaForCausalLM, Trainer, TrainerCallback, TrainingArguments

from septet.core.step import Runtime, Work
from septet.data.packing import IGNORE, Row, Sample, pack
from septet.nn.device import bfloat16_is_native, pick_device
from septet.nn.model import Model
from septet.train.loop import fit
from septet.train.objectives.causal_lm import CausalLM
from septet.train.plan import Plan
from septet.train.schedules.constant import Constant

VOCABULARY, WIDTH, INNER, LAYERS, HEADS = 8192, 384, 1024, 6, 6
CONTEXT, ROWS, RATE = 256, 8, 1e-3


def module() -> LlamaForCausalLM:
    torch.manual_seed(0)
    return LlamaForCausalLM(
        LlamaConfig(
            vocab_size=VOCABULARY,
            hidden_size=WIDTH,
            intermediate_size=INNER,
            num_hidden_layers=LAYERS,
            num_attention_heads=HEADS,
            num_key_value_heads=HEADS,
            max_position_embeddings=CONTEXT,
            tie_word_embeddings=True,
            bos_token_id=0,
            eos_token_id=0,
            pad_token_id=1,
        )
    )


def packed_rows(count: int) -> list[Row]:
    """Rows of documents as long as docstrings are (log-normal, median 40 tokens), tokens by Zipf's law: work, not language."""
    rng = np.random.default_rng(0)
    share = 1 / np.arange(1, VOCABULARY - 1)
    share /= share.sum()
    samples: list[Sample] = []
    room = 0
    while room < count * CONTEXT * 1.1:
        size = int(np.clip(rng.lognormal(np.log(40), 0.9), 4, CONTEXT))
        line = rng.choice(np.arange(2, VOCABULARY), size=size + 1, p=share).astype(np.int32)
        samples.append(Sample(line[:-1], line[1:]))
        room += size
    rows = pack(samples, CONTEXT, pad=1)[0][:count]
    for row in rows:
        row.labels[-1] = IGNORE  # the Trainer's labels are shifted inside the row, so it cannot learn the last one
    order = rng.permutation(len(rows))
    return [rows[index] for index in order]


@dataclass
class Run:
    """One run: seconds of the first steps, tokens per second of the rest, the last loss."""

    arm: str
    first_seconds: float
    tokens_per_second: float
    loss: float
    peak_megabytes: float = 0.0


class Rows:
    """The rows in the order given: what both sides train on."""

    def __init__(self, rows: list[Row], size: int = ROWS) -> None:
        self.rows, self.size, self.place = rows, size, 0

    def next(self) -> list[Row]:
        self.place += self.size
        return self.rows[self.place - self.size : self.place]

    def state(self) -> dict[str, Any]:
        return {"place": self.place}

    def restore(self, state: dict[str, Any]) -> None:
        self.place = state["place"]


def figures(arm: str, marks: list[float], rows: list[Row], loss: float, skip: int) -> Run:
    used = sum(row.used for row in rows[skip * ROWS : (len(marks) - 1) * ROWS])
    return Run(arm, marks[skip] - marks[0], used / (marks[-1] - marks[skip]), loss)


def run_ours(rows: list[Row], steps: int, skip: int, *, compile: bool) -> Run:
    marks: list[float] = []
    folder = Path(tempfile.mkdtemp())
    model = Model(module(), SimpleNamespace(pad_token_id=1))
    plan = Plan(steps=steps, learning_rate=RATE, schedule=Constant(warmup=0), compile=compile, checkpoint_every=10**9)
    work = Work(out=folder, state=folder, runtime=Runtime(), emit=lambda event: marks.append(time.perf_counter()))
    marks.append(time.perf_counter())
    done = fit(model, CausalLM(), Rows(rows), plan, work=work)
    shutil.rmtree(folder)
    return figures("ours, compiled" if compile else "ours", marks, rows, done.losses["nll"], skip)


class Marks(TrainerCallback):
    def __init__(self) -> None:
        self.times: list[float] = []

    def on_train_begin(self, *args: Any, **kwargs: Any) -> None:
        self.times.append(time.perf_counter())

    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        self.times.append(time.perf_counter())
        # a log before the last step, so that the last log holds the loss of the last step alone
        control.should_log |= state.global_step == args.max_steps - 1


class Ordered(Trainer):
    def _get_train_sampler(self, *args: Any, **kwargs: Any) -> torch.utils.data.Sampler:
        return torch.utils.data.SequentialSampler(self.train_dataset)  # type: ignore[arg-type]


def collate(rows: list[Row]) -> dict[str, torch.Tensor]:
    def stack(parts: list[np.ndarray]) -> torch.Tensor:
        return torch.from_numpy(np.stack(parts).astype(np.int64))

    labels = [np.concatenate([[IGNORE], row.labels[:-1]]) for row in rows]
    return {
        "input_ids": stack([row.ids for row in rows]),
        "position_ids": stack([row.positions for row in rows]),
        "labels": stack(labels),
    }


def peer_arguments(folder: str, steps: int, *, bf16: bool, compile: bool) -> TrainingArguments:
    """Return the Trainer's settings for the work that ours does: AdamW without decay, clipping 1.0, a constant rate."""
    return TrainingArguments(
        output_dir=folder,
        max_steps=steps,
        per_device_train_batch_size=ROWS,
        learning_rate=RATE,
        lr_scheduler_type="constant",
        weight_decay=0.0,
        adam_beta1=0.9,
        adam_beta2=0.95,
        max_grad_norm=1.0,
        logging_steps=steps,
        save_strategy="no",
        report_to="none",
        disable_tqdm=True,
        remove_unused_columns=False,
        seed=0,
        use_cpu=not torch.cuda.is_available(),  # bf16 is refused on a processor unless it is asked for by name
        bf16=bf16,
        torch_compile=compile,
    )


def run_trainer(rows: list[Row], steps: int, skip: int, *, best: bool) -> Run:
    marks, folder = Marks(), tempfile.mkdtemp()
    arguments = peer_arguments(folder, steps, bf16=best and bfloat16_is_native(pick_device()), compile=best)
    trainer = Ordered(model=module(), args=arguments, train_dataset=rows, data_collator=collate, callbacks=[marks])
    trainer.train()
    losses = [entry["loss"] for entry in trainer.state.log_history if "loss" in entry]
    shutil.rmtree(folder, ignore_errors=True)
    return figures("trainer, best" if best else "trainer, default", marks.times, rows, losses[-1], skip)


def ceiling(seconds: float, kinds: Sequence[torch.dtype] = (torch.float32, torch.bfloat16)) -> dict[str, Any]:
    """Time every matrix product of one step (forward, and the two of the backward pass) by itself, best of several."""
    tokens = CONTEXT * ROWS
    shapes = [("attention", WIDTH, WIDTH, 4 * LAYERS), ("gate and up", WIDTH, INNER, 2 * LAYERS)]
    shapes += [("down", INNER, WIDTH, LAYERS), ("head", WIDTH, VOCABULARY, 1)]
    found: dict[str, Any] = {}
    for dtype in kinds:
        total = flops = 0.0
        for _, inner, outer, count in shapes:
            x, w = torch.randn(tokens, inner, dtype=dtype), torch.randn(outer, inner, dtype=dtype)
            g = torch.randn(tokens, outer, dtype=dtype)
            for product in (lambda x=x, w=w: x @ w.T, lambda g=g, w=w: g @ w, lambda g=g, x=x: g.T @ x):
                product()
                times, end = [], time.perf_counter() + seconds
                while time.perf_counter() < end or len(times) < 3:
                    start = time.perf_counter()
                    product()
                    times.append(time.perf_counter() - start)
                total += count * min(times)
                flops += count * 2 * tokens * inner * outer
        name = str(dtype).removeprefix("torch.")
        found[name] = {"tokens_per_second": tokens / total, "gigaflops": flops / total / 1e9}
    return found


ARMS = {
    "ours": lambda *work: run_ours(*work, compile=False),
    "ours, compiled": lambda *work: run_ours(*work, compile=True),
    "trainer, default": lambda *work: run_trainer(*work, best=False),
    "trainer, best": lambda *work: run_trainer(*work, best=True),
}


def run_arm(name: str, steps: int, skip: int, threads: int) -> Run:
    """One run, in this process."""
    if threads:
        torch.set_num_threads(threads)
    return ARMS[name](packed_rows(steps * ROWS), steps, skip)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pairs", type=int, default=7)
    parser.add_argument("--steps", type=int, default=50)
    parser.add_argument("--peer", choices=["best", "default", "both"], default="both")
    parser.add_argument("--no-compile", action="store_true", help="neither side compiles (no C++ compiler)")
    parser.add_argument("--threads", type=int, default=0, help="threads of torch; 0 leaves its choice")
    parser.add_argument("--quick", action="store_true", help="two pairs of eight steps: does it run?")
    options = parser.parse_args()
    pairs, steps, skip = (2, 8, 3) if options.quick else (options.pairs, options.steps, 5)
    compile = not options.no_compile and shutil.which("c++") is not None
    kept = tempfile.TemporaryDirectory()
    os.environ["TORCHINDUCTOR_CACHE_DIR"] = kept.name  # so that the first compilation is from nothing
    facts = machine()
    arms = [name for name in ARMS if compile or not ("compiled" in name or "best" in name)]
    arms = [name for name in arms if "ours" in name or options.peer in ("both", name.removeprefix("trainer, "))]
    runs: list[Run] = []
    roofs: list[dict[str, Any]] = []
    for pair in range(pairs):
        if pair in (0, pairs // 2, pairs - 1):
            roofs.append(alone(ceiling, 0.1 if options.quick else 0.4)[0])
        # every other pair goes the other way round, so that a slow drift of the machine cancels
        for name in arms if pair % 2 == 0 else reversed(arms):
            run, peak = alone(run_arm, name, steps, skip, options.threads)
            runs.append(replace(run, peak_megabytes=peak / 1e6))
            print(json.dumps({"pair": pair, **asdict(runs[-1])}), flush=True)
    speeds = {name: [run.tokens_per_second for run in runs if run.arm == name] for name in arms}
    losses = [run.loss for run in runs]
    ratios = {
        f"{ours} / {theirs}": median_ratio(speeds[ours], speeds[theirs])
        for ours in arms
        if ours.startswith("ours")
        for theirs in arms
        if theirs.startswith("trainer")
    }
    roof = {
        kind: {key: statistics.median(each[kind][key] for each in roofs) for key in roofs[0][kind]} for kind in roofs[0]
    }
    fractions = {
        name: statistics.median(values)
        / roof["float32" if name == "trainer, default" else "bfloat16"]["tokens_per_second"]
        for name, values in speeds.items()
    }
    shape = {"vocabulary": VOCABULARY, "width": WIDTH, "feed_forward": INNER, "layers": LAYERS, "heads": HEADS}
    rows_shown = [
        {
            "arm": name,
            "tokens a second": statistics.median(values),
            "first steps, s": next(run.first_seconds for run in runs if run.arm == name),
            "again, s": statistics.median([run.first_seconds for run in runs if run.arm == name][1:]),
            "of the matrix ceiling": fractions[name],
            "peak memory, MB": statistics.median(run.peak_megabytes for run in runs if run.arm == name),
        }
        for name, values in speeds.items()
    ]
    rows_shown += [
        {"arm": name, "ratio": found["ratio"], "low": found["low"], "high": found["high"], "pairs": found["pairs"]}
        for name, found in ratios.items()
    ]
    result = {
        "title": "Training: our loop beside the Hugging Face Trainer",
        "about": "A 13.8 M-parameter Llama, the same packed rows; float32 weights and AdamW states, clipping 1.0. The first steps "
        "hold compilation: from nothing, and again with what the compiler kept. The ceiling is the time of the "
        "model's own matrix products alone, in the arm's type.",
        "command": "make bench BENCH=train",
        "rows": rows_shown,
        "machine": facts,
        "versions": versions(),
        "model": {**shape, "parameters": sum(p.numel() for p in module().parameters())},
        "work": {"context": CONTEXT, "rows": ROWS, "steps": steps, "skipped": skip, "optimizer": "AdamW", "clip": 1.0},
        "quick": options.quick,
        "tokens_per_second": {name: statistics.median(values) for name, values in speeds.items()},
        "ratios": ratios,
        "ceiling": roof,
        "fraction_of_ceiling": fractions,
        "largest_loss_difference": max(losses) - min(losses),
        "runs": [asdict(run) for run in runs],
    }
    if not options.quick:
        write("train", result)
    print(json.dumps({name: result[name] for name in ("tokens_per_second", "ratios", "fraction_of_ceiling")}, indent=1))
    if result["largest_loss_difference"] > 1e-2:
        raise SystemExit(
            f"the losses differ by {result['largest_loss_difference']:.4f}, more than 1e-2: not the same work"
        )


if __name__ == "__main__":
    main()
