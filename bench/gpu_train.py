"""Training on one GPU: our loop beside the Hugging Face Trainer and a plain PyTorch loop, GPT-2 124 M and a Llama of 1 B.

Packages: torch 2.13 with CUDA, transformers 5, accelerate, and this project (pip install -e . in a clone). No network, no data:
rows are random tokens, or Python's own documentation with a tokenizer that is trained on it first.

Sequences of 2,048 tokens, bfloat16 with float32 weights, AdamW, clipping 1.0, a constant rate. Every arm compiles. Model FLOPs
utilisation is (6 N + 12 L d T) FLOPs a token (Chowdhery et al. 2022, appendix B) times tokens a second, over 989 TFLOP/s (the
H100's dense bfloat16 rate; --peak for another card), and over the rate of one large matrix product measured in the same run. N
leaves out position vectors and untied input embeddings, which multiply nothing.

What it is not: run on a machine without a GPU, where --quick only shows that it works, with models of a few thousand parameters.

    python bench/gpu_train.py [--models gpt2-124m llama-1b] [--data random real] [--pairs 3] [--quick]
"""

from __future__ import annotations

import argparse
import json
import shutil
import statistics
import tempfile
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import torch
from common import alone, machine, median_ratio, versions, write
from torch import nn
from transformers import AutoModelForCausalLM, GPT2Config, LlamaConfig

from septet.core.step import Runtime, Work
from septet.data.packing import Row, Sample, pack, text_samples
from septet.nn.model import Model
from septet.train.loop import fit
from septet.train.objectives.causal_lm import CausalLM
from septet.train.plan import Plan
from septet.train.schedules.constant import Constant
from train import RATE, Marks, Ordered, Rows, collate, peer_arguments

VOCABULARY, CONTEXT = 50_304, 2048
ARMS = ("ours", "trainer", "plain")
PUBLISHED = "torchtitan 33 to 39 % (8 B, H100), nanochat 41 to 46 % (H100), litgpt 52 % (A100)"


@dataclass(frozen=True)
class Shape:
    """A model: its configuration, the rows of one step, and those of one forward pass."""

    config: Any
    rows: int
    micro: int
    layers: int
    width: int


def shapes(quick: bool) -> dict[str, Shape]:
    common = {"vocab_size": VOCABULARY, "bos_token_id": 0, "eos_token_id": 0, "pad_token_id": 1}
    if quick:
        small = {**common, "vocab_size": 1024}
        gpt2 = GPT2Config(n_embd=32, n_layer=2, n_head=2, n_positions=CONTEXT, **small)
        llama = LlamaConfig(
            hidden_size=32, intermediate_size=64, num_hidden_layers=2, num_attention_heads=2, num_key_value_heads=2,
            max_position_embeddings=CONTEXT, **small,
        )  # fmt: skip
        return {"gpt2-124m": Shape(gpt2, 4, 2, 2, 32), "llama-1b": Shape(llama, 4, 2, 2, 32)}
    drops = {"attn_pdrop": 0.0, "embd_pdrop": 0.0, "resid_pdrop": 0.0}
    gpt2 = GPT2Config(n_embd=768, n_layer=12, n_head=12, n_positions=CONTEXT, **drops, **common)
    llama = LlamaConfig(
        hidden_size=2048, intermediate_size=5632, num_hidden_layers=18, num_attention_heads=16, num_key_value_heads=16,
        max_position_embeddings=CONTEXT, tie_word_embeddings=True, **common,
    )  # fmt: skip
    return {"gpt2-124m": Shape(gpt2, 32, 32, 12, 768), "llama-1b": Shape(llama, 16, 8, 18, 2048)}


def module(shape: Shape) -> nn.Module:
    torch.manual_seed(0)
    return AutoModelForCausalLM.from_config(shape.config, attn_implementation="sdpa")


def flops_per_token(shape: Shape, made: nn.Module) -> float:
    """Return 6 N + 12 L d T."""
    outside = sum(p.numel() for name, p in made.named_parameters() if name.endswith("wpe.weight"))
    if not shape.config.tie_word_embeddings:
        outside += made.get_input_embeddings().weight.numel()  # type: ignore[operator]
    counted = sum(p.numel() for p in made.parameters()) - outside
    return 6.0 * counted + 12.0 * shape.layers * shape.width * CONTEXT


# -- rows ---------------------------------------------------------------------------------------------------------------


def random_rows(count: int, vocabulary: int) -> list[Row]:
    """Return rows of one document each, tokens drawn uniformly."""
    rng = np.random.default_rng(0)
    samples = []
    for _ in range(count):
        line = rng.integers(2, vocabulary, CONTEXT + 1).astype(np.int32)
        samples.append(Sample(line[:-1], line[1:]))
    return pack(samples, CONTEXT, pad=1)[0]


def real_rows(count: int, vocabulary: int) -> list[Row]:
    """Return packed rows of Python's documentation, over and over, with a tokenizer that was trained on it."""
    from septet.core.recipe import Recipe
    from septet.core.store import Store
    from septet.data.documents import read_documents
    from septet.launch.local import run_recipe
    from septet.nn.load import open_tokenizer

    text = {"kind": "corpus", "source": {"kind": "python-docs"}, "filters": ["normalise"]}
    size = min(32_768, vocabulary)
    recipe = Recipe.parse(
        {"name": "gpu", "steps": {"text": text, "vocab": {"kind": "tokenizer", "corpus": "$text", "size": size}}}
    )
    with tempfile.TemporaryDirectory() as home:
        store = Store(Path(home))
        run_recipe(recipe, store, runtime=Runtime(device="cpu"))
        tokenizer = open_tokenizer(store.resolve("gpu/vocab").path)
        texts = [doc.text for doc in read_documents(store.resolve("gpu/text").path / "train.jsonl")]
        rows = pack(text_samples(texts, tokenizer), CONTEXT, pad=1)[0]
    return [rows[place % len(rows)] for place in range(count)]


# -- arms ---------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Run:
    """One run: seconds of the first steps, tokens a second of the rest, the last loss, and the GPU's memory at its fullest."""

    arm: str
    first_seconds: float
    tokens_per_second: float
    loss: float
    gpu_gigabytes: float


def speed(marks: list[float], rows: list[Row], per_step: int, skip: int) -> tuple[float, float]:
    used = sum(row.used for row in rows[skip * per_step : (len(marks) - 1) * per_step])
    return marks[skip] - marks[0], used / (marks[-1] - marks[skip])


def ours(shape: Shape, rows: list[Row], steps: int, marks: list[float]) -> float:
    place = Path(tempfile.mkdtemp())
    plan = Plan(
        steps=steps, learning_rate=RATE, schedule=Constant(warmup=0), compile=True, checkpoint_every=10**9,
        micro_rows=shape.micro,
    )  # fmt: skip

    def told(event: Any) -> None:
        if torch.cuda.is_available():
            torch.cuda.synchronize()
        marks.append(time.perf_counter())

    work = Work(out=place, state=place, runtime=Runtime(), emit=told)
    stream = Rows(rows, shape.rows)
    marks.append(time.perf_counter())
    done = fit(Model(module(shape), SimpleNamespace(pad_token_id=1)), CausalLM(), stream, plan, work=work)
    shutil.rmtree(place)
    return done.losses["nll"]


def trainer(shape: Shape, rows: list[Row], steps: int, marks: list[float]) -> float:
    place, told = tempfile.mkdtemp(), Marks()
    arguments = peer_arguments(place, steps, bf16=True, compile=True)
    arguments.per_device_train_batch_size = shape.micro
    arguments.gradient_accumulation_steps = shape.rows // shape.micro
    made = Ordered(model=module(shape), args=arguments, train_dataset=rows, data_collator=collate, callbacks=[told])
    made.train()
    marks += told.times
    shutil.rmtree(place, ignore_errors=True)
    return [entry["loss"] for entry in made.state.log_history if "loss" in entry][-1]


def plain(shape: Shape, rows: list[Row], steps: int, marks: list[float]) -> float:
    """A loop as one writes it by hand: autocast, fused AdamW, the whole model compiled, its own loss."""
    device = "cuda" if torch.cuda.is_available() else "cpu"
    made = module(shape).to(device).train()
    optimizer = torch.optim.AdamW(made.parameters(), lr=RATE, betas=(0.9, 0.95), weight_decay=0.0, fused=True)
    compiled = torch.compile(made)
    parts = shape.rows // shape.micro
    loss = 0.0
    marks.append(time.perf_counter())
    for step in range(steps):
        total = torch.zeros((), device=device)
        for part in range(parts):
            start = step * shape.rows + part * shape.micro
            batch = {name: value.to(device) for name, value in collate(rows[start : start + shape.micro]).items()}
            with torch.autocast(device, dtype=torch.bfloat16):
                found = compiled(**batch).loss / parts
            found.backward()
            total += found.detach()
        nn.utils.clip_grad_norm_(made.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad()
        loss = float(total)  # waits for the device
        marks.append(time.perf_counter())
    return loss


RUN: dict[str, Callable[[Shape, list[Row], int, list[float]], float]] = {
    "ours": ours,
    "trainer": trainer,
    "plain": plain,
}


def run_arm(arm: str, model: str, data: str, steps: int, skip: int, quick: bool) -> Run:
    """One run, in this process."""
    shape = shapes(quick)[model]
    rows = (random_rows if data == "random" else real_rows)(steps * shape.rows, shape.config.vocab_size)
    for row in rows:
        row.labels[-1] = -100  # the peers shift the labels inside the row, so they cannot learn the last one
    marks: list[float] = []
    loss = RUN[arm](shape, rows, steps, marks)
    first, rate = speed(marks, rows, shape.rows, skip)
    memory = torch.cuda.max_memory_allocated() / 1e9 if torch.cuda.is_available() else 0.0
    return Run(arm, first, rate, loss, memory)


def matrix_rate(seconds: float) -> float:
    """Return the bfloat16 FLOP/s of one large square product, the best of many."""
    device = "cuda" if torch.cuda.is_available() else "cpu"
    size = 8192 if device == "cuda" else 1024
    a, b = (torch.randn(size, size, device=device, dtype=torch.bfloat16) for _ in range(2))
    best, end = float("inf"), time.perf_counter() + seconds
    while time.perf_counter() < end:
        if device == "cuda":
            torch.cuda.synchronize()
        start = time.perf_counter()
        a @ b
        if device == "cuda":
            torch.cuda.synchronize()
        best = min(best, time.perf_counter() - start)
    return 2 * size**3 / best


def device_facts() -> dict[str, Any]:
    """Return the machine, and what nvidia-smi would say of the GPU."""
    facts = machine()
    if torch.cuda.is_available():
        properties = torch.cuda.get_device_properties(0)
        facts |= {
            "gpu": properties.name,
            "gpu_memory_gb": round(properties.total_memory / 1e9, 1),
            "cuda": torch.version.cuda,
        }
    return facts


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--models", nargs="*", choices=("gpt2-124m", "llama-1b"), default=("gpt2-124m", "llama-1b"))
    parser.add_argument("--data", nargs="*", choices=("random", "real"), default=("random", "real"))
    parser.add_argument("--pairs", type=int, default=3)
    parser.add_argument("--steps", type=int, default=30)
    parser.add_argument("--peak", type=float, default=989e12, help="the card's dense bfloat16 FLOP/s")
    parser.add_argument("--quick", action="store_true", help="tiny models, three steps: does it run?")
    options = parser.parse_args()
    if not torch.cuda.is_available() and not options.quick:
        raise SystemExit("no GPU is seen here; --quick shows that the benchmark works, with tiny models.")
    pairs, steps, skip = (1, 3, 1) if options.quick else (options.pairs, options.steps, 10)
    facts, measured = device_facts(), alone(matrix_rate, 0.2 if options.quick else 5.0)[0]
    shown: list[dict[str, Any]] = []
    raw: list[dict[str, Any]] = []
    for model in options.models:
        shape = shapes(options.quick)[model]
        cost = flops_per_token(shape, module(shape))
        for data in options.data:
            runs: dict[str, list[Run]] = {arm: [] for arm in ARMS}
            for pair in range(pairs):
                for arm in ARMS if pair % 2 == 0 else reversed(ARMS):
                    run, _ = alone(run_arm, arm, model, data, steps, skip, options.quick)
                    runs[arm].append(run)
                    raw.append({"model": model, "data": data, "pair": pair, **asdict(run)})
                    print(json.dumps(raw[-1]), flush=True)
            rates = {arm: [run.tokens_per_second for run in found] for arm, found in runs.items()}
            for arm in ARMS:
                rate = statistics.median(rates[arm])
                row = {
                    "model": model,
                    "data": data,
                    "arm": arm,
                    "tokens a second": rate,
                    "MFU": rate * cost / options.peak,
                    "of the measured matrix rate": rate * cost / measured,
                    "GPU memory, GB": max(run.gpu_gigabytes for run in runs[arm]),
                }
                if arm != "ours":
                    found = median_ratio(rates["ours"], rates[arm])
                    row |= {"ours to it": found["ratio"], "low": found["low"], "high": found["high"]}
                shown.append(row)
    result = {
        "title": "Training on one GPU: our loop, the Trainer, plain PyTorch",
        "about": f"Sequences of {CONTEXT:,} tokens, bfloat16 over float32 weights, AdamW, all compiled. Model FLOPs utilisation "
        f"over {options.peak / 1e12:.0f} TFLOP/s, and over the measured rate of a matrix product. Published: {PUBLISHED}.",
        "command": "make bench BENCH=gpu-train",
        "rows": shown,
        "machine": facts,
        "versions": versions(),
        "matrix_rate": measured,
        "runs": raw,
    }
    if not options.quick:
        write("gpu-train", result)
    print(json.dumps(shown, indent=1))


if __name__ == "__main__":
    main()
