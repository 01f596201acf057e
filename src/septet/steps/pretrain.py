"""pretrain: trains a language model from scratch on a corpus; one dial, depth, derives the rest.

Documents are packed into rows and do not see each other. Weights and optimizer states are float32, the arithmetic bfloat16 where
the processor has it. What was derived is printed; every derived value can be given instead. Length is counted in tokens, so a
slower machine trains the same model.

What it is not: fine-tuning; a model that exists already goes through `finetune`.

    septet pretrain --corpus text --tokenizer vocab --family llama --depth 4
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from pydantic import Field

from septet.core.artifact import Artifact, Fact
from septet.core.component import CorpusRef, PackedRef, TokenizerRef
from septet.core.errors import ComponentError, DataError
from septet.core.step import Step, Work
from septet.data.documents import read_documents, write_rows
from septet.nn.families.llama import Llama
from septet.nn.family import Dial, Family
from septet.train.objective import Objective
from septet.train.objectives.causal_lm import CausalLM

if TYPE_CHECKING:
    from septet.data.packed import Ready
    from septet.train.plan import Plan

__all__ = ["Pretrain", "curve_rows"]

MOST_EPOCHS = 4
"""A derived length passes over the text at most so often: up to here repetition is nearly as good as fresh text (Muennighoff et al.
2023, arXiv:2305.16264), and on a small corpus more of it is learned by heart: over 27,000 tokens of our guides, 4, 8 and 16 passes
gave 1.84, 1.92 and 2.64 bits per byte of held-out text. A length that is given is taken as it is."""

WATCHED_ROWS = 64
"""Held-out rows that are evaluated while training; the last evaluation takes them all."""


class Pretrain(Step):
    """Train a language model from scratch."""

    produces: ClassVar[str] = "model"

    corpus: CorpusRef
    """The corpus: its training part is learned, its held-out part only measured."""
    tokenizer: TokenizerRef
    """The tokenizer, whose files become part of the model."""
    packed: PackedRef | None = None
    """Rows that `pack` made of this corpus with this tokenizer: they are read from disk, in the order of their mixture."""
    family: Family = Llama()
    """The architecture."""
    depth: int = Field(default=4, ge=1, le=128)
    """Number of layers: the dial from which everything below is derived."""
    objective: Objective = CausalLM()
    """What is minimised."""
    seed: int = Field(default=0, ge=0)
    """Draws the first weights and the order of the rows."""
    width: int | None = Field(default=None, ge=2)
    """Model width; derived from depth unless given."""
    heads: int | None = Field(default=None, ge=1)
    """Attention heads; derived unless given."""
    feed_forward: int | None = Field(default=None, ge=1)
    """Inner width of the feed-forward part; derived unless given."""
    context: int | None = Field(default=None, ge=8)
    """Tokens in a row, the longest sequence; derived unless given."""
    learning_rate: float | None = Field(default=None, gt=0)
    """The peak of the learning rate; derived unless given."""
    batch_tokens: int | None = Field(default=None, ge=1)
    """Tokens of one optimizer step; derived unless given."""
    tokens: int | None = Field(default=None, ge=1)
    """Tokens of the whole training; derived unless given."""
    optimizer: Literal["adamw", "muon"] = "muon"
    """muon: orthogonalised steps for the matrices, AdamW for the rest; adamw: AdamW for all."""
    weight_decay: float = Field(default=0.0, ge=0)
    """Decay of the matrices, in units of the learning rate."""
    clip: float = Field(default=1.0, ge=0)
    """The largest norm of the gradient; 0 does not clip."""
    precision: Literal["auto", "float32", "bfloat16"] = "auto"
    """The type of the arithmetic; auto: bfloat16 where the device has it natively. Weights are float32 always."""
    compile: bool = False
    """Compile the model with torch.compile; needs a C++ compiler on the machine."""

    def run(self, work: Work, **inputs: Artifact) -> dict[str, Fact]:
        """Errors: DataError for a corpus without training text; DivergedError when the loss is no longer a number."""
        from transformers import AutoModelForCausalLM  # 2 s; the command line does without

        from septet.data.batches import Batches
        from septet.data.packing import pack, text_samples
        from septet.nn.load import open_tokenizer
        from septet.nn.model import Model
        from septet.train.loop import evaluate, fit
        from septet.train.runtime import seed_all, settle

        if self.objective.needs:
            raise ComponentError(
                f"the objective '{self.objective.kind}' needs {', '.join(sorted(self.objective.needs))}, which pre-training from "
                "scratch does not have. Use 'causal-lm' here, and this objective in 'align'."
            )
        tokenizer = open_tokenizer(inputs["tokenizer"].path)
        if tokenizer.eos_token_id is None:
            raise DataError(
                "the tokenizer has no end-of-text token (eos), which stands between documents; make one with "
                "`family: none` or a decoder's family.",
                file=inputs["tokenizer"].path,
            )
        dial = self.derive(len(tokenizer))
        folder = inputs["corpus"].path
        pad = tokenizer.pad_token_id if tokenizer.pad_token_id is not None else tokenizer.eos_token_id
        held_texts = [doc.text for doc in read_documents(folder / "held_out.jsonl")]
        if "packed" in inputs:
            dial, ready = self._ready(dial, inputs)
            packed, held_packed, held_rows = ready.packed.report(), ready.held_out.report(), list(ready.held_out.rows())
        else:
            texts = [doc.text for doc in read_documents(folder / "train.jsonl")]
            if not texts:
                raise DataError("the corpus has no training text. Hold out less, or give more text.", file=folder)
            rows, packed = pack(text_samples(texts, tokenizer), dial.context, pad=pad)
            held_rows, held_packed = pack(text_samples(held_texts, tokenizer), dial.context, pad=pad)
        if self.tokens is None:
            dial = dial.with_(tokens=min(dial.tokens, max(dial.batch_tokens, MOST_EPOCHS * packed.targets)))

        settled = settle(work.runtime, precision=self.precision)
        seed_all(self.seed)
        module = AutoModelForCausalLM.from_config(self.family.config(dial, tokenizer))
        model = Model(module, tokenizer, device=settled.device)
        plan = self.plan(dial)
        size = max(1, round(dial.batch_tokens / dial.context))
        batches = ready.batches(size) if "packed" in inputs else Batches(rows, size, seed=self.seed)
        facts: dict[str, Fact] = {
            "parameters": model.num_parameters(),
            "derived": dial.facts(),
            "epochs": round(dial.tokens / max(1, packed.targets), 2),
            "packing": packed.facts(),
            "held_out_packing": held_packed.facts(),
        }
        _tell(work, self, dial, facts, plan)

        watched = held_rows[:: max(1, math.ceil(len(held_rows) / WATCHED_ROWS))]
        done = fit(model, self.objective, batches, plan, work=work, held_out=watched)
        facts |= {
            "steps": done.steps,
            "tokens": done.tokens,
            "loss": done.losses,
            "tokens_per_second": round(done.tokens_per_second, 1),
            "training_seconds": round(done.seconds, 1),
            **done.facts,
        }
        if held_rows:
            last = evaluate(model, self.objective, held_rows, settled=settled, rows_at_once=plan.eval_rows)
            size = sum(len(text.encode()) for text in held_texts)
            facts["held_out_loss"] = last
            if "nll" in last:
                # the end of a document is predicted too, and paid for
                facts["bits_per_byte"] = last["nll"] * held_packed.targets / math.log(2) / size
        model.save(work.out)
        write_rows(work.out / "curve.jsonl", curve_rows(done.curve))
        return facts

    def _ready(self, dial: Dial, inputs: dict[str, Artifact]) -> tuple[Dial, Ready]:
        """Return the dial with the context of the packed rows, and the rows."""
        from septet.data.packed import Ready

        artifact = inputs["packed"]
        for role in ("corpus", "tokenizer"):
            if artifact.inputs[role] != inputs[role].id:
                raise ComponentError(
                    f"packed: these rows were made with the {role} {artifact.inputs[role][:12]}, and {role} is "
                    f"{inputs[role].short}. Pack this {role}, or train with that one."
                )
        ready = Ready.open(artifact)
        if self.context not in (None, ready.packed.context):
            raise ComponentError(
                f"context: {self.context} is given and the packed rows have {ready.packed.context} tokens. Leave context out, or "
                "pack with this one."
            )
        return dial.with_(context=ready.packed.context), ready

    def derive(self, vocabulary: int) -> Dial:
        """Return the family's dial with the fields that were given in place of the derived ones."""
        dial = self.family.dial(self.depth, vocabulary=vocabulary)
        names = ("width", "heads", "feed_forward", "context", "learning_rate", "batch_tokens", "tokens")
        given = {name: getattr(self, name) for name in names}
        if self.width is not None:
            # the sizes that follow from the width follow from the given one
            given = {**self.family.sizes(self.depth, self.width), **{k: v for k, v in given.items() if v is not None}}
        return dial.with_(**given)

    def plan(self, dial: Dial) -> Plan:
        """Return the plan: warm-up over a twentieth, constant, then a linear fall over the last half."""
        from septet.train.plan import Plan

        steps = max(1, round(dial.tokens / dial.batch_tokens))
        return Plan(
            steps=steps,
            learning_rate=dial.learning_rate,
            warmup=min(100, steps // 20),
            schedule="wsd",
            decay=0.5,
            optimizer=self.optimizer,
            weight_decay=self.weight_decay,
            clip=self.clip,
            eval_every=max(1, steps // 5),
            precision=self.precision,
            compile=self.compile,
            seed=self.seed,
        )


def curve_rows(curve: Iterable[dict[str, Any]]) -> Iterable[dict[str, Any]]:
    """Turn the loop's records into the rows of `curve.jsonl`: no clock times, so equal runs have equal files."""
    for record in curve:
        held_out = record.get("held_out", {})
        yield {
            "step": record["step"],
            "tokens": record["tokens"],
            "loss": record["loss"],
            **({"held_out_loss": held_out.get("nll", sum(held_out.values()))} if held_out else {}),
            "learning_rate": record["learning_rate"],
            "grad_norm": record["grad_norm"],
        }


def _tell(work: Work, step: Pretrain, dial: Dial, facts: dict[str, Any], plan: Plan) -> None:
    given = {name for name in dial.facts() if getattr(step, name, None) is not None}
    parts = [
        f"{name.replace('_', ' ')} {value:,g}{' (given)' if name in given else ''}"
        for name, value in dial.facts().items()
    ]
    work.log(f"{step.family.kind}: {facts['parameters']:,} parameters; {', '.join(parts)}.")
    packed = facts["packing"]
    work.log(
        f"{packed['samples']:,} documents, {packed['targets']:,} tokens in {packed['rows']:,} rows of {dial.context}, "
        f"{packed['waste']:.1%} of it padding; {packed['cut']:,} long documents were cut into {packed['pieces']:,} pieces. "
        f"{plan.steps:,} steps of {dial.batch_tokens:,} tokens are {facts['epochs']} passes over the text."
    )
