"""Fine-tuning on instructions: how fast beside TRL's SFTTrainer, how much memory, and what four-bit weights cost in quality.

Our side is `septet finetune`: its defaults, but for the adapter and the length of 512 tokens; and the same with `compile: true`.
TRL gets its best: its ways of batching, packing, attention, precision and compiling are tried once each; ours meets the fastest.

- `pilot`: TRL's options, on a few conversations. Without this part, what was the fastest before is taken.
- `speed`: both teach the same 13.8 M-parameter Llama from the same weights the same conversations twice (Alpaca's; one tokenizer
  and template), in steps of as many tokens; the second pass is timed. Float32 weights and AdamW states, clipping 1.0, the same peak
  rate, a cosine. Runs alternate, each in a process of its own; the figure is the median ratio of supervised tokens a second over
  the pairs. The tokens must be the same, and the held-out losses close: a check of the work, not a result.
- `memory`: the most that a process holds with full, LoRA and QLoRA on a 93 M-parameter Llama, in training and over the whole step.
- `quality`: LoRA and QLoRA on a base that has learned from other conversations; held-out losses, paired over seeds, and what was
  gained, against which a difference is to be read.

What it is not: a benchmark of models. TRL lies in a folder of its own, named by --trl or the variable TRL, which this fills:

    pip install --target FOLDER --no-deps trl datasets dill multiprocess
    SEPTET_DATA=... python bench/finetune.py --trl FOLDER [--pairs 5] [--parts pilot speed memory quality] [--quick]
"""

from __future__ import annotations

import argparse
import gzip
import importlib.machinery
import json
import math
import os
import random
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

from common import alone, machine, median_ratio, versions, write

from septet.core.artifact import Artifact
from septet.core.events import Event, Progress
from septet.core.step import Runtime, Work
from septet.data.batches import Batches
from septet.data.documents import read_rows, write_rows
from septet.data.messages import messages_of
from septet.evals.stats import difference
from septet.steps.finetune import Finetune

PARTS = ("pilot", "speed", "memory", "quality")
LENGTH, BATCH, RANK, ASKED = 512, 32, 16, 2.5
PASSES = 2
"""Passes over the conversations in `speed`; the second is timed, when all that is compiled or allocated once has been."""
PASSES_BEFORE, FASTER = 4, 3.0
"""In `quality`: passes over other conversations that make the base, and the multiple of each adapter's own learning rate, since
there are ten steps only."""
LORA = {"r": RANK, "lora_alpha": 2 * RANK, "lora_dropout": 0.0, "bias": "none"}
MAPS = ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]
AGREE = 0.2
"""Nats a token by which the held-out losses of both sides may differ. Their steps hold other conversations, in another order, while
the loss falls by as much in one step; that the same batches give the same weights is tests/invariant/test_trainer.py."""


@dataclass(frozen=True)
class Shape:
    """A Llama."""

    vocabulary: int = 8192
    width: int = 384
    inner: int = 1024
    layers: int = 6
    heads: int = 6


@dataclass(frozen=True)
class Scale:
    """How much work: conversations to learn from, of the first training in `quality`, held out, and in a trial."""

    train: int = 320
    first: int = 640
    held_out: int = 128
    tried: int = 96
    shape: Shape = Shape()
    large: Shape = Shape(width=768, inner=2048, layers=12, heads=12)
    seeds: int = 5


@dataclass(frozen=True)
class Bench:
    """Where the files are, where TRL is, how much is done, and torch's threads (0: its own choice)."""

    folder: Path
    trl: Path
    scale: Scale
    threads: int


QUICK = Scale(96, 96, 16, 64, Shape(1024, 64, 128, 2, 2), Shape(1024, 128, 256, 2, 2), 2)


def packed(rows: int, times: int, **options: Any) -> dict[str, Any]:
    return {
        "packing": True,
        "per_device_train_batch_size": rows,
        "gradient_accumulation_steps": times,
        **options,
    }


def padded(rows: int, **options: Any) -> dict[str, Any]:
    return {"per_device_train_batch_size": rows, "gradient_accumulation_steps": BATCH // rows, **options}


# A step of ours holds 32 conversations, some 5,900 tokens: 12 rows of 512. TRL lays the packed rows of one forward pass end to end,
# and without a kernel for that, attention costs the square of their common length; so it may also take one row at a time.
OPTIONS: dict[str, dict[str, Any]] = {
    "padded, 32 at once": padded(32),
    "padded, 4 at once": padded(4),
    "one at a time": padded(1),
    "padded, grouped by length, 4 at once": padded(4, train_sampling_strategy="group_by_length"),
    "without padding, 4 at once": padded(4, padding_free=True),
    "packed, 12 rows at once": packed(12, 1),
    "packed, 4 rows at once": packed(4, 3),
    "packed, a row at a time": packed(1, 12),
    "packed, a row at a time, bfloat16": packed(1, 12, bf16=True),
    "packed, a row at a time, compiled": packed(1, 12, torch_compile=True),
    "packed, a row at a time, bfloat16, compiled": packed(1, 12, bf16=True, torch_compile=True),
    "packed, a row at a time, eager attention": packed(1, 12, attn_implementation="eager"),
    "cut anywhere, 4 rows at once": packed(4, 3, packing_strategy="wrapped"),
}
LONGEST = 240.0
"""Seconds that TRL may take in a trial: several times what its best takes."""
PADDED, BEST = "padded, 4 at once", "packed, a row at a time"
UNLIKE = frozenset({"cut anywhere, 4 rows at once"})
"""Options under which conversations see each other: tried, but no equal of ours."""


# -- what both sides are given -------------------------------------------------------------------------------------------


def conversations(path: Path) -> list[dict[str, Any]]:
    """Return the conversations of a file of the instruction data sets."""
    with gzip.open(path, "rt", encoding="utf-8") as file:
        rows = [json.loads(line) for line in file] if ".jsonl" in path.name else json.load(file)
    return [{"messages": messages_of(path, number, row)} for number, row in enumerate(rows, 1)]


def write_base(folder: Path, shape: Shape, tokenizer: Path) -> int:
    """Write a Llama with weights drawn from seed 0, with Septet's chat template; return its number of parameters."""
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    from septet.infer.chat import prepare_for_chat
    from septet.nn.load import open_tokenizer
    from septet.nn.model import Model

    known = open_tokenizer(tokenizer)
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=len(known),
        hidden_size=shape.width,
        intermediate_size=shape.inner,
        num_hidden_layers=shape.layers,
        num_attention_heads=shape.heads,
        num_key_value_heads=shape.heads,
        max_position_embeddings=LENGTH,
        tie_word_embeddings=True,
        bos_token_id=known.bos_token_id,
        eos_token_id=known.eos_token_id,
        pad_token_id=known.pad_token_id,
    )
    module = LlamaForCausalLM(config)
    prepare_for_chat(module, known)
    model = Model(module, known)
    model.save(folder)
    return model.num_parameters()


def prepare(data: Path, folder: Path, scale: Scale) -> dict[str, Any]:
    """Write the tokenizer, two bases and the data, without conversations above LENGTH tokens; return what they are."""
    from septet.data.tokenizers.folder import save
    from septet.data.tokenizers.training import train
    from septet.infer.tasks.chat import prepare_conversations
    from septet.nn.load import open_tokenizer

    sets = {
        "alpaca": conversations(data / "sft" / "alpaca_sample" / "alpaca_en_demo.json.gz"),
        "dolly": conversations(data / "sft" / "dolly_hhrlhf_small" / "dolly_hhrlhf_train_small.jsonl.gz"),
    }
    texts = [message["content"] for rows in sets.values() for row in rows for message in row["messages"]]
    save(train(texts, size=scale.shape.vocabulary), folder / "tokenizer")
    parameters = {
        name: write_base(folder / name, shape, folder / "tokenizer")
        for name, shape in (("base", scale.shape), ("large", scale.large))
    }
    tokenizer = open_tokenizer(folder / "base")
    for name, rows in sets.items():
        lengths = [len(sample.ids) for sample in prepare_conversations(enumerate(rows), tokenizer, max_tokens=10**6)[0]]
        fitting = [row for row, length in zip(rows, lengths, strict=True) if length < LENGTH]
        random.Random(0).shuffle(fitting)
        held, rest = fitting[: scale.held_out], fitting[scale.held_out :]
        # a whole number of steps, so that our side sees each once
        sets[name] = rest[: (scale.first if name == "dolly" else scale.train) // BATCH * BATCH]
        for part, chosen in ((name, sets[name]), (f"{name}-few", sets[name][: scale.tried])):
            (folder / part).mkdir()
            write_rows(folder / part / "train.jsonl", chosen)
            write_rows(folder / part / "held_out.jsonl", held)
    return {"parameters": parameters, "conversations": {name: len(rows) for name, rows in sets.items()}}


# -- one run of each side ------------------------------------------------------------------------------------------------


@dataclass
class Run:
    """One run: seconds of the clock and of the processor after the first steps, and the tokens that were learned from in them.

    text: all tokens of the conversations; supervised: those of the answers; of_all: both, of the whole run.
    """

    arm: str
    first_seconds: float
    seconds: float
    processor_seconds: float
    text: int
    supervised: int
    of_all: tuple[int, int]
    held_out_loss: float = math.nan
    peak_megabytes: float = 0.0
    facts: dict[str, Any] = field(default_factory=dict)

    @property
    def speed(self) -> float:
        """Supervised tokens a second."""
        return self.supervised / self.seconds


def figures(arm: str, marks: Sequence[Sequence[float]], skip: int) -> Run:
    """Return the figures of a run. marks: before the first step and after each, both clocks, and what was learned from so far."""
    begin, first, last = marks[0], marks[min(skip, len(marks) - 2)], marks[-1]
    seconds, processor, text, supervised = (last[place] - first[place] for place in range(4))
    return Run(arm, first[0] - begin[0], seconds, processor, int(text), int(supervised), (int(last[2]), int(last[3])))


def most_held() -> float:
    """Return the most memory that this process has held since `forget_most`, in megabytes; 0 where the system does not tell."""
    try:
        with open("/proc/self/status", encoding="utf-8") as file:
            return next(int(line.split()[1]) for line in file if line.startswith("VmHWM")) * 1024 / 1e6
    except OSError:
        return 0.0


def forget_most() -> None:
    """Have the system count from here (Linux)."""
    try:
        Path("/proc/self/clear_refs").write_text("5", encoding="utf-8")
    except OSError:
        print("memory is not counted anew here; the training's most is that of the whole so far", file=sys.stderr)


def artifact(path: Path, kind: str) -> Artifact:
    return Artifact(id="0" * 32, kind=kind, inputs={}, step={}, path=path)


def run_ours(bench: Bench, arm: str, base: str, data: str, **fields: Any) -> tuple[Run, dict[str, float]]:
    """Run the step in this process; return its figures and its memory. The model stays in the folder `out`."""
    from transformers import LlamaForCausalLM  # noqa: F401 -- what it takes belongs to the libraries

    from septet.infer.tasks.chat import prepare_conversations
    from septet.nn.load import open_tokenizer
    from septet.nn.quantised import peft

    peft()
    memory = {"libraries": most_held(), "opening": 0.0, "training": 0.0}
    clocks = [(0.0, 0.0)]

    def watch(event: Event) -> None:
        now = time.perf_counter(), time.process_time()
        if isinstance(event, Progress):
            clocks.append(now)
            memory["training"] = most_held()
        elif len(clocks) == 1:
            # what is told before the first step is told when everything is opened
            memory["opening"] = max(memory["opening"], most_held())
            forget_most()
            clocks[0] = now

    out, state, rows = bench.folder / "out", bench.folder / "state", bench.folder / data
    for path in (out, state):
        shutil.rmtree(path, ignore_errors=True)
        path.mkdir(parents=True)
    work = Work(out=out, state=state, runtime=Runtime(threads=bench.threads or None), emit=watch)
    step = Finetune(model="$model", data="$data", max_tokens=LENGTH, **{"batch_size": BATCH, **fields})
    facts = step.run(work, model=artifact(bench.folder / base, "model"), data=artifact(rows, "dataset"))
    memory["whole step"] = max(memory["opening"], memory["training"], most_held())
    # what a step holds is known from the seed; a conversation's last token is predicted, never read
    tokenizer = open_tokenizer(bench.folder / base)
    samples, _ = prepare_conversations(read_rows(rows / "train.jsonl"), tokenizer, max_tokens=LENGTH)
    batches = Batches(samples[: step.limit], step.batch_size, seed=step.seed)
    marks, text, supervised = [[*clocks[0], 0, 0]], 0, 0
    for clock in clocks[1:]:
        for sample in batches.next():
            text += len(sample.ids) + 1
            supervised += int((sample.labels >= 0).sum())
        marks.append([*clock, text, supervised])
    # the last mark comes after the held-out rows, which the step evaluates by itself
    found = replace(figures(arm, marks[:-1], len(marks) // 2), of_all=(text, supervised))
    found.held_out_loss, found.peak_megabytes = facts["held_out_loss"], memory["whole step"]
    found.facts = {
        name: facts.get(name) for name in ("learning_rate", "precision", "threads", "compiled", "parameters")
    }
    return found, memory


def held_out_loss(model: Path, data: Path) -> float:
    """Return the loss of a model folder over held-out conversations, measured as `finetune` does."""
    from septet.infer.tasks.chat import Chat
    from septet.train.evaluation import evaluate
    from septet.train.objectives.supervised import Supervised
    from septet.train.runtime import settle

    opened = Chat().open(model)
    samples, _ = Chat().encode(list(read_rows(data / "held_out.jsonl")), opened, max_tokens=LENGTH)
    return evaluate(opened, Supervised(), samples, settled=settle(Runtime()))["nll"]


def run_peer(
    bench: Bench, arm: str, data: str, adapter: str, options: dict[str, Any], passes: int, limit: float | None = None
) -> Run:
    """Run TRL in a process of its own, on the libraries of this one; the model stays in the folder `trl`.

    Raises SystemExit with the end of what it printed, or where it took longer than `limit` seconds.
    """
    given = dict(options)
    attention = given.pop("attn_implementation", "sdpa")
    settings = {
        "model": str(bench.folder / "base"),
        "rows": str(bench.folder / data / "train.jsonl"),
        "out": str(bench.folder / "trl"),
        "max_length": LENGTH,
        "passes": passes,
        "rate": rate_of(bench.folder / "base", adapter),
        "threads": bench.threads,
        "adapter": {**LORA, "target_modules": MAPS} if adapter == "lora" else "full",
        "model_options": {"attn_implementation": attention},
        # its defaults save memory by making activations again, and compute in bfloat16 whether or not the processor can
        "options": {"gradient_checkpointing": False, "bf16": False, "logging_steps": 1000, **given},
    }
    script = Path(__file__).parent / "peers" / "trl_sft.py"
    paths = os.pathsep.join(filter(None, [str(bench.trl), os.environ.get("PYTHONPATH")]))
    command = [sys.executable, str(script), json.dumps(settings)]
    environment = {**os.environ, "PYTHONPATH": paths}
    try:
        done = subprocess.run(command, capture_output=True, text=True, env=environment, check=False, timeout=limit)
    except subprocess.TimeoutExpired:
        raise SystemExit(f"{arm}: not done after {limit:g} seconds") from None
    if done.returncode:
        raise SystemExit(f"TRL ended with status {done.returncode} ({arm}):\n{done.stderr[-2000:]}")
    told = json.loads(done.stdout.rsplit("RESULT ", 1)[1])
    # places, which hold padding too, are in the third column
    marks = [[clock, processor, text, supervised] for clock, processor, _, text, supervised in told["marks"]]
    found = figures(arm, marks, len(marks) // 2 if passes > 1 else 1)
    found.peak_megabytes = told["peak_bytes"] / 1e6
    found.facts = {name: told[name] for name in ("optimizer", "dtype", "versions")}
    found.facts["filled"] = told["marks"][-1][3] / told["marks"][-1][2]
    return found


# -- the parts -----------------------------------------------------------------------------------------------------------


def pilot(bench: Bench, names: Iterable[str]) -> list[dict[str, Any]]:
    """Try TRL's options once each on a few conversations; of what it cannot do here the reason is kept."""
    found = []
    for name in names:
        row: dict[str, Any] = {"options": name}
        try:
            run = run_peer(bench, name, "alpaca-few", "full", OPTIONS[name], 1, LONGEST)
        except SystemExit as error:
            row["fails"] = str(error).strip().splitlines()[-1][:160]
        else:
            row |= {"supervised tokens a second": run.speed, "peak memory, MB": run.peak_megabytes}
            row["supervised tokens a second of the processor"] = run.supervised / run.processor_seconds
        found.append(row)
        print(json.dumps(row), flush=True)
    return found


def best_of(tried: list[dict[str, Any]]) -> str:
    """Return the fastest options under which conversations do not see each other."""
    usable = [row for row in tried if "fails" not in row and row["options"] not in UNLIKE]
    return max(usable, key=lambda row: row["supervised tokens a second"])["options"] if usable else BEST


def ceiling(threads: int) -> dict[str, Any]:
    """Return how many tokens a second the model's own matrix products allow, by type, where every parameter learns."""
    import torch

    from septet.nn.device import bfloat16_is_native, pick_device
    from train import ceiling as measure  # transformers' Trainer: 3 s

    if threads:
        torch.set_num_threads(threads)
    # where bfloat16 is emulated, it takes minutes, and nobody trains in it
    return measure(0.3, (torch.float32, torch.bfloat16)[: 1 + bfloat16_is_native(pick_device())])


def speed(bench: Bench, pairs: int, best: str) -> tuple[list[dict[str, Any]], dict[str, Any]]:
    """Run both sides in alternation; return rows for people and the raw figures."""
    runs: list[Run] = []

    def ours(adapter: str, *, fast: bool = False) -> Run:
        arm = f"ours, {adapter}" + (", compiled" if fast else "")
        fields = {
            "adapter": {"kind": adapter, **({"rank": RANK} if adapter == "lora" else {})},
            "compile": fast,
            "epochs": PASSES,
        }
        return alone(partial(run_ours, bench, arm, "base", "alpaca", **fields))[0][0]

    def theirs(adapter: str) -> Run:
        run = run_peer(bench, f"TRL, {adapter}", "alpaca", adapter, OPTIONS[best], PASSES)
        return replace(run, held_out_loss=alone(held_out_loss, bench.folder / "trl", bench.folder / "alpaca")[0])

    arms = {
        "ours, full": lambda: ours("full"),
        "ours, full, compiled": lambda: ours("full", fast=True),
        "TRL, full": lambda: theirs("full"),
        "ours, lora": lambda: ours("lora"),
        "ours, lora, compiled": lambda: ours("lora", fast=True),
        "TRL, lora": lambda: theirs("lora"),
    }
    roof = alone(ceiling, bench.threads)[0]
    for pair in range(pairs):
        # every other pair goes the other way round, so that a slow drift of the machine cancels
        for name in arms if pair % 2 == 0 else reversed(arms):
            runs.append(arms[name]())
            print(json.dumps({"pair": pair, **asdict(runs[-1])}), flush=True)
    of = {name: [run for run in runs if run.arm == name] for name in arms}
    half = {"ours": of["ours, full"][0].facts["precision"] == "bfloat16", "TRL": OPTIONS[best].get("bf16", False)}
    rows: list[dict[str, Any]] = [
        {
            "what": name,
            "supervised tokens a second": statistics.median(run.speed for run in some),
            "tokens of text a second": statistics.median(run.text / run.seconds for run in some),
            "first steps, s": statistics.median(run.first_seconds for run in some),
            "held-out loss": some[0].held_out_loss,
            "peak memory, MB": statistics.median(run.peak_megabytes for run in some),
        }
        for name, some in of.items()
    ]
    for row in rows:
        if ", full" in row["what"]:
            kind = "bfloat16" if half[row["what"].split(",")[0]] else "float32"
            row["of the matrix ceiling"] = (
                row["tokens of text a second"] / roof.get(kind, roof["float32"])["tokens_per_second"]
            )
    meetings = [(name, f"TRL, {name.split(', ')[1]}") for name in arms if name.startswith("ours")]
    ratios = {
        f"{mine} / {other}": median_ratio([run.speed for run in of[mine]], [run.speed for run in of[other]])
        for mine, other in meetings
    }
    rows += [
        {"what": name, **{key: found[key] for key in ("ratio", "low", "high", "pairs")}}
        for name, found in ratios.items()
    ]
    if len({run.of_all for run in runs}) > 1:
        raise SystemExit(f"not the same tokens were learned from: { ({run.arm: run.of_all for run in runs}) }")
    losses = {name: some[0].held_out_loss for name, some in of.items()}
    apart = max(abs(losses[mine] - losses[other]) for mine, other in meetings)
    raw = {
        "ratios": ratios,
        "reached": min(found["low"] for name, found in ratios.items() if "compiled" in name) >= ASKED,
        "largest_loss_difference": apart,
        "ceiling": roof,
        "trl_options": {"best": best, **OPTIONS[best]},
        "runs": [asdict(run) for run in runs],
    }
    return rows, raw


def rate_of(base: Path, adapter: str) -> float:
    """Return the peak learning rate that `finetune` takes for this base."""
    from types import SimpleNamespace

    from septet.train.adapter import Adapter

    config = json.loads((base / "config.json").read_text(encoding="utf-8"))
    return Adapter.parse(adapter).learning_rate(SimpleNamespace(config=SimpleNamespace(**config)))  # type: ignore[arg-type]


def memory(bench: Bench) -> tuple[list[dict[str, Any]], dict[str, Any]]:
    """Measure the memory of each adapter on the larger base; return rows for people and the raw figures."""
    rows, raw = [], {}
    for adapter in ("full", "lora", "qlora"):
        # few conversations in a step: what is to be seen is weights, gradients and states, not activations
        fields = {"adapter": adapter, "limit": 8, "batch_size": 2}
        run, held = alone(partial(run_ours, bench, adapter, "large", "alpaca", **fields))[0]
        raw[adapter] = held
        rows.append(
            {"what": f"memory, {adapter}", "parameters that learn": run.facts["parameters"]}
            | {f"{part}, MB": value for part, value in held.items()}
        )
        print(json.dumps(rows[-1]), flush=True)
    return rows, {"memory": raw}


def quality(bench: Bench) -> tuple[list[dict[str, Any]], dict[str, Any]]:
    """Teach a base that has learned from other conversations, once with each adapter and seed; return rows and raw figures."""
    first = bench.folder / "first"
    # Muon, because nearly all is still to be learned: a base that knows nothing could not tell two adapters apart
    taught, _ = alone(
        partial(run_ours, bench, "first", "base", "dolly", adapter="full", optimizer="muon", epochs=PASSES_BEFORE)
    )[0]
    (bench.folder / "out").rename(first)
    before = alone(held_out_loss, first, bench.folder / "alpaca")[0]
    losses: dict[str, list[float]] = {"lora": [], "qlora": []}
    for seed in range(bench.scale.seeds):
        for adapter, found in losses.items():
            fields = {"adapter": {"kind": adapter, "rank": RANK}, "seed": seed, "rate_factor": FASTER}
            found.append(alone(partial(run_ours, bench, adapter, "first", "alpaca", **fields))[0][0].held_out_loss)
            print(json.dumps({"seed": seed, adapter: found[-1]}), flush=True)
    apart = difference(losses["qlora"], losses["lora"])
    rows: list[dict[str, Any]] = [
        {
            "what": f"quality, {adapter}",
            "held-out loss": statistics.mean(found),
            "gained": before - statistics.mean(found),
        }
        for adapter, found in losses.items()
    ]
    rows.append(
        {
            "what": "quality, qlora - lora",
            "difference": apart.value,
            "low": apart.low,
            "high": apart.high,
            "pairs": apart.n,
        }
    )
    return rows, {
        "quality": {"before": before, "first": taught.held_out_loss, "losses": losses, "difference": apart.to_json()}
    }


def find_trl(given: str | None) -> Path:
    """Return the folder with TRL; raises SystemExit that says how to fill one."""
    fill = "pip install --target FOLDER --no-deps trl datasets dill multiprocess"
    if not given:
        raise SystemExit(f"The parts pilot and speed need TRL. Fill a folder and name it with --trl FOLDER:\n  {fill}")
    lacking = [name for name in ("trl", "datasets") if not importlib.machinery.PathFinder.find_spec(name, [given])]
    if lacking:
        raise SystemExit(f"{' and '.join(lacking)} not found in {given}. Fill the folder:\n  {fill}")
    return Path(given)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=os.environ.get("SEPTET_DATA"), help="the folder of data sets")
    parser.add_argument("--trl", default=os.environ.get("TRL"), help="the folder with trl and datasets")
    parser.add_argument("--parts", nargs="+", choices=PARTS, default=list(PARTS))
    parser.add_argument("--pairs", type=int, default=5)
    parser.add_argument("--options", nargs="+", choices=sorted(OPTIONS), default=list(OPTIONS), help="of the pilot")
    parser.add_argument("--best", choices=sorted(OPTIONS), default=BEST, help="what TRL has where there is no pilot")
    parser.add_argument("--threads", type=int, default=0, help="threads of torch; 0 leaves its choice")
    parser.add_argument("--quick", action="store_true", help="tiny models, one pair: does it run?")
    options = parser.parse_args()
    if options.data is None:
        raise SystemExit("--data (or SEPTET_DATA) names the folder of data sets")
    trl = find_trl(options.trl) if {"pilot", "speed"} & set(options.parts) else Path()
    scale, pairs = (QUICK, 1) if options.quick else (Scale(), options.pairs)
    facts = machine()
    rows: list[dict[str, Any]] = []
    raw: dict[str, Any] = {}
    with tempfile.TemporaryDirectory() as name:
        bench, best = Bench(Path(name), trl, scale, options.threads), options.best
        work = alone(prepare, options.data, bench.folder, scale)[0]
        if "pilot" in options.parts:
            raw["pilot"] = pilot(bench, [BEST, PADDED] if options.quick else options.options)
            best = best_of(raw["pilot"])
            for row in raw["pilot"]:
                shown = {key: value for key, value in row.items() if key != "options"}
                rows.append({"what": f"TRL tried: {row['options']}", **shown})
        for part, run in (
            ("speed", lambda: speed(bench, pairs, best)),
            ("memory", lambda: memory(bench)),
            ("quality", lambda: quality(bench)),
        ):
            if part in options.parts:
                more, figures_ = run()
                rows += more
                raw |= figures_
    peer_versions = next((run["facts"]["versions"] for run in raw.get("runs", []) if "versions" in run["facts"]), {})
    result = {
        "title": "Fine-tuning on instructions, beside TRL's SFTTrainer"
        + ("" if set(options.parts) == set(PARTS) else f": {', '.join(options.parts)}"),
        "about": f"A 13.8 M-parameter Llama, {work['conversations']['alpaca']} conversations of Alpaca of at most {LENGTH} tokens, "
        "each twice, the second pass timed; float32 weights and AdamW states, clipping 1.0. Ours is `septet finetune` with its "
        "defaults, and with `compile: true`; TRL has the "
        "fastest of the options that were tried. Memory: a 93 M-parameter Llama, two conversations a step. Quality: a base that "
        "has learned from Dolly, LoRA and QLoRA of rank 16 on Alpaca at three times their rate, held-out nats a token, and what "
        "was gained; the interval is over seeds.",
        "command": f"make bench BENCH=finetune ARGS='--trl FOLDER --parts {' '.join(options.parts)}'",
        "rows": rows,
        "machine": facts,
        "versions": {**versions(), **peer_versions},
        "work": {"length": LENGTH, "batch": BATCH, "rank": RANK, **work},
        "quick": options.quick,
        **raw,
    }
    if not options.quick:
        # parts that are run by themselves have results of their own
        write("finetune" if set(options.parts) == set(PARTS) else f"finetune-{'-'.join(options.parts)}", result)
    print(json.dumps({"rows": rows}, indent=1))
    if raw.get("largest_loss_difference", 0.0) > AGREE:
        raise SystemExit(
            f"the held-out losses differ by {raw['largest_loss_difference']:.4f}, more than {AGREE}: not the same work"
        )


if __name__ == "__main__":
    main()
