"""pretrain: trains a language model on a corpus, from scratch or on from another; one dial, depth, derives the rest.

Three architectures learn here, each by its own objectives: decoders (gpt2, llama, falcon), encoders (bert, roberta; xlnet, which
reads in drawn orders), encoder-decoders (t5, bart). Documents are packed into rows and do not see each other. Weights and optimizer
states are float32, the arithmetic bfloat16 where the processor has it. What was derived is printed; every derived value can be
given instead. Length is counted in tokens, so a slower machine trains the same model.

What it is not: fine-tuning; what a model should answer is taught by `finetune`.

    septet pretrain --corpus text --tokenizer vocab --family llama --depth 4
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal, Self

from pydantic import Field, model_validator

from septet.core import registry
from septet.core.artifact import Artifact, Fact
from septet.core.component import CorpusRef, ModelRef, PackedRef, TokenizerRef
from septet.core.errors import ComponentError, DataError
from septet.core.step import Forecast, Runtime, Step, Work
from septet.data.documents import read_documents, write_rows
from septet.nn.families.llama import Llama
from septet.nn.family import Dial, Family, family_of
from septet.train.objective import Objective
from septet.train.optimizer import Optimizer
from septet.train.optimizers.muon import Muon
from septet.train.plan import Precision
from septet.train.schedule import Schedule
from septet.train.schedules.wsd import Wsd

if TYPE_CHECKING:
    import torch

    from septet.data.batches import Stream
    from septet.data.packed import Ready
    from septet.nn.model import Model
    from septet.train.plan import Plan

__all__ = ["Pretrain", "curve_rows"]

MOST_EPOCHS = 4
"""A derived length passes over the text at most so often: up to here repetition is nearly as good as fresh text (Muennighoff et al.
2023, arXiv:2305.16264), and on a small corpus more of it is learned by heart: over 27,000 tokens of our guides, 4, 8 and 16 passes
gave 1.84, 1.92 and 2.64 bits per byte of held-out text. A length that is given is taken as it is."""

FEED_FORWARD = ("intermediate_size", "n_inner", "ffn_hidden_size", "d_inner", "d_ff", "encoder_ffn_dim")
"""What the configurations of transformers call the inner width of the feed-forward part."""

WATCHED_ROWS = 64
"""Held-out rows that are evaluated while training; the last evaluation takes them all."""

COUNTED = 1 << 18
"""Tokens by which a head's bias is set, those that are trained on first."""


@dataclass(frozen=True)
class Start:
    """What a training begins with: a family and a tokenizer, or the folder of a model that is continued."""

    family: Family
    objective: Objective
    tokenizer: Any
    dial: Dial
    folder: Path | None

    def model(self, dial: Dial, device: torch.device) -> Model:
        """Return the model: weights drawn anew for this dial, or those of the folder."""
        from septet.nn.architecture import ARCHITECTURES
        from septet.nn.load import open_model
        from septet.nn.model import Model

        if self.folder is not None:
            model = open_model(self.folder, device=str(device), architectures=ARCHITECTURES, pairs=self.objective.pairs)
            model.module.train()
            return model
        # positions may be relative, and then only the tokenizer can say for how long a text the model was made
        self.tokenizer.model_max_length = dial.context
        config = self.family.config(dial, self.tokenizer)
        return Model(self.family.build(config, pairs=self.objective.pairs), self.tokenizer, device=device)


class Pretrain(Step):
    """Train a language model on a corpus."""

    produces: ClassVar[str] = "model"
    parallel: ClassVar[bool] = True
    version: ClassVar[int] = 3  # a head's bias begins from how often each token comes

    corpus: CorpusRef
    """The corpus: its training part is learned, its held-out part only measured."""
    tokenizer: TokenizerRef | None = None
    """The tokenizer, whose files become part of the model; a model that is continued brings its own."""
    continue_from: ModelRef | None = None
    """A model to train on, in place of weights drawn anew; its family and sizes are what they are."""
    packed: PackedRef | None = None
    """Rows that `pack` made of this corpus with this tokenizer: they are read from disk, in the order of their mixture."""
    family: Family = Llama()
    """The architecture."""
    depth: int = Field(default=4, ge=1, le=128)
    """Number of layers: the dial from which everything below is derived."""
    objective: Objective | None = None
    """What is minimised; unless given, what the family was made for."""
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
    optimizer: Optimizer = Muon()
    """What takes the steps."""
    schedule: Schedule = Wsd(decay=0.5)
    """The course of the learning rate."""
    weight_decay: float = Field(default=0.0, ge=0)
    """Decay of the matrices, in units of the learning rate."""
    clip: float = Field(default=1.0, ge=0)
    """The largest norm of the gradient; 0 does not clip."""
    micro_tokens: int | None = Field(default=None, ge=1)
    """Tokens of one forward pass, where a whole step's do not fit in memory; changes nothing else."""
    precision: Precision = "auto"
    """The type of the arithmetic; auto: bfloat16 where the device has it natively. Weights are float32 always."""
    recompute: bool = False
    """Make the activations of each layer again in the backward pass: less memory, a third more time."""
    compile: bool | Literal["auto"] = False
    """Compile the model with torch.compile; needs a C++ compiler. auto: try, and do what will be done first."""
    average: float | None = Field(default=None, gt=0, lt=1)
    """Keep an exponential average of the weights with this decay, such as 0.999, in place of the last ones."""
    evaluations: int = Field(default=5, ge=1)
    """How often the held-out text is looked at on the way."""
    stop_after: int | None = Field(default=None, ge=1)
    """End after so many evaluations in a row without a new best, and keep the best weights."""
    spike: float | None = Field(default=None, gt=0)
    """Do not learn from a step whose loss is so many standard deviations above the mean of the last ones."""

    @model_validator(mode="after")
    def _one_beginning(self) -> Self:
        if (self.tokenizer is None) == (self.continue_from is None):
            raise ValueError(
                "give 'tokenizer' to train from scratch, or 'continue_from' to train a model on; not both, not neither."
            )
        if self.continue_from is not None:
            given = [name for name in ("width", "heads", "feed_forward") if getattr(self, name) is not None]
            if given:
                raise ValueError(
                    f"{', '.join(given)}: the model that is continued has its sizes already; leave this out."
                )
        return self

    def run(self, work: Work, **inputs: Artifact) -> dict[str, Fact]:
        """Errors: DataError for a corpus without training text; DivergedError when the loss is no longer a number."""
        import torch  # with transformers 3 s; the command line does without

        from septet.data.batches import Batches, Partnered
        from septet.data.layout import pieces
        from septet.data.packing import pack, separator_of, text_samples
        from septet.train.estimate.memory import check_fits
        from septet.train.evaluation import evaluate
        from septet.train.loop import fit
        from septet.train.ranks import gather
        from septet.train.runtime import seed_all, settle

        settled = settle(work.runtime, precision=self.precision)
        seed_all(self.seed)
        start = self._start(inputs)
        objective, tokenizer, dial = start.objective, start.tokenizer, start.dial
        folder = inputs["corpus"].path
        pad = tokenizer.pad_token_id if tokenizer.pad_token_id is not None else tokenizer.eos_token_id
        held_rows: list[Any]
        held_texts = [doc.text for doc in read_documents(folder / "held_out.jsonl")]
        if "packed" in inputs:
            dial, ready = self._ready(dial, inputs, objective)
            packed, held_packed, held_rows = ready.packed.report(), ready.held_out.report(), list(ready.held_out.rows())
        else:
            texts = [doc.text for doc in read_documents(folder / "train.jsonl")]
            if not texts:
                raise DataError("the corpus has no training text. Hold out less, or give more text.", file=folder)
            room = dial.context - objective.around
            rows, packed = pack(text_samples(texts, tokenizer), room, pad=pad)
            held_rows, held_packed = pack(text_samples(held_texts, tokenizer), room, pad=pad)
        if self.tokens is None:
            dial = dial.with_(tokens=min(dial.tokens, max(dial.batch_tokens, MOST_EPOCHS * packed.targets)))

        model = start.model(dial, settled.device)
        plan = self.plan(dial)
        size = max(1, round(dial.batch_tokens / dial.context))

        def batches(turn: int) -> Stream:
            return ready.batches(size, turn=turn) if "packed" in inputs else Batches(rows, size, seed=self.seed + turn)

        # where each row comes with one from elsewhere in the text, those come in an order of their own
        stream = Partnered(batches(0), batches(1)) if objective.partners else batches(0)
        if start.folder is None and model.head_bias is not None:
            model.expect(_token_counts(batches(0), dial, separator_of(tokenizer), len(tokenizer)))
        if objective.partners:
            held_rows = list(zip(held_rows, held_rows[1:] + held_rows[:1], strict=True))
        facts: dict[str, Fact] = {
            "parameters": model.num_parameters(),
            "architecture": model.architecture,
            "objective": objective.kind,
            "derived": dial.facts(),
            "epochs": round(dial.tokens / max(1, packed.targets), 2),
            "packing": packed.facts(),
            "held_out_packing": held_packed.facts(),
        }
        _tell(work, self, start, dial, facts, plan)

        check_fits(type(self).model_fields, model, objective, stream, plan, settled)
        watched = held_rows[:: max(1, math.ceil(len(held_rows) / WATCHED_ROWS))]
        done = fit(model, objective, stream, plan, work=work, held_out=watched)
        facts |= {
            "steps": done.steps,
            "tokens": done.tokens,
            "loss": done.losses,
            "tokens_per_second": round(done.tokens_per_second, 1),
            "training_seconds": round(done.seconds, 1),
            **done.facts,
        }
        if held_rows:
            last = evaluate(model, objective, held_rows, settled=settled, rows_at_once=plan.eval_rows)
            facts["held_out_loss"] = last
            with torch.no_grad():
                figure = model.within(lambda: objective.measure(model, held_rows, last, settled=settled))
            if figure is not None:
                separator = separator_of(tokenizer)
                plain = [row[0] if objective.partners else row for row in held_rows]
                whole = sum(len(ids) for row in plain for ids in pieces(row, separator))
                read = sum(len(text.encode()) for text in held_texts) * figure.tokens / whole
                facts[figure.name] = figure.nats / math.log(2) / read
        gather(model, settled.ranks)
        if settled.ranks.is_first:
            model.save(work.out)
            write_rows(work.out / "curve.jsonl", curve_rows(done.curve))
        return facts

    def _start(self, inputs: dict[str, Artifact]) -> Start:
        """Return what the training begins with: family and tokenizer, or a model."""
        from septet.nn.load import open_config, open_tokenizer

        if self.continue_from is None:
            tokenizer = open_tokenizer(inputs["tokenizer"].path)
            dial = self.derive(len(tokenizer))
            return Start(self.family, self._fitting(self.family, self.family.architecture), tokenizer, dial, None)
        from transformers import AutoConfig  # 2 s; the command line does without

        from septet.nn.architecture import architecture_of

        folder = inputs["continue_from"].path
        content = open_config(folder)
        tokenizer = open_tokenizer(folder)
        config = AutoConfig.from_pretrained(str(folder), local_files_only=True, trust_remote_code=False)
        architecture = architecture_of(content)
        family = family_of(content["model_type"], architecture)
        return Start(
            family, self._fitting(family, architecture), tokenizer, self._continued(config, family, tokenizer), folder
        )

    def _fitting(self, family: Family, architecture: str) -> Objective:
        """Return the objective, given or the family's own; raises ComponentError where the architecture cannot learn it."""
        objective = self.objective or Objective.parse(family.objective)
        problem = _problem(objective, family, architecture)
        if problem:
            known = [
                registry.find(Objective.drawer, name, family=Objective) for name in registry.names(Objective.drawer)
            ]
            fitting = [other.kind_name() for other in known if not _problem(other, family, architecture)]
            raise ComponentError(f"objective: '{objective.kind}' {problem}. What fits here: {', '.join(fitting)}.")
        return objective.suited(architecture)

    def _continued(self, config: Any, family: Family, tokenizer: Any) -> Dial:
        """Return the dial of a model that exists: its sizes, and a third of the peak rate that its depth would have anew."""
        from septet.nn.model import longest

        depth, limit = int(config.num_hidden_layers), longest(config, tokenizer)
        if self.context is not None and self.context > limit:
            raise ComponentError(
                f"context: {self.context} is more than the {limit} tokens that the model's positions allow."
            )
        anew = family.dial(depth, vocabulary=len(tokenizer))
        return replace(
            anew,
            width=int(config.hidden_size),
            heads=int(config.num_attention_heads),
            feed_forward=int(next(filter(None, (getattr(config, name, None) for name in FEED_FORWARD)), 0)),
            context=self.context or min(limit, 1024),
            learning_rate=self.learning_rate or anew.learning_rate * self.optimizer.relative_rate / 3,
            batch_tokens=self.batch_tokens or anew.batch_tokens,
            tokens=self.tokens or anew.tokens,
        )

    def _ready(self, dial: Dial, inputs: dict[str, Artifact], objective: Objective) -> tuple[Dial, Ready]:
        """Return the dial with the context of the packed rows and of what the objective puts around, and the rows."""
        from septet.data.packed import Ready

        artifact = inputs["packed"]
        for role in ("corpus", "tokenizer"):
            if role not in inputs:
                raise ComponentError(
                    "packed: a model that is continued has a tokenizer of its own, and these rows were made with another. Leave "
                    "packed out."
                )
            if artifact.inputs[role] != inputs[role].id:
                raise ComponentError(
                    f"packed: these rows were made with the {role} {artifact.inputs[role][:12]}, and {role} is "
                    f"{inputs[role].short}. Pack this {role}, or train with that one."
                )
        ready = Ready.open(artifact)
        context = ready.packed.context + objective.around
        if self.context not in (None, context):
            around = f" and {objective.kind} puts {objective.around} around a piece" if objective.around else ""
            raise ComponentError(
                f"context: {self.context} is given, the packed rows have {ready.packed.context} tokens{around}. Leave context out, "
                f"or pack with context: {(self.context or 0) - objective.around}."
            )
        return dial.with_(context=context), ready

    def derive(self, vocabulary: int) -> Dial:
        """Return the family's dial with the fields that were given in place of the derived ones."""
        dial = self.family.dial(self.depth, vocabulary=vocabulary)
        # the dial's rate was found with Muon
        dial = replace(dial, learning_rate=dial.learning_rate * self.optimizer.relative_rate)
        names = ("width", "heads", "feed_forward", "context", "learning_rate", "batch_tokens", "tokens")
        given = {name: getattr(self, name) for name in names}
        if self.width is not None:
            # the sizes that follow from the width follow from the given one
            given = {**self.family.sizes(self.depth, self.width), **{k: v for k, v in given.items() if v is not None}}
        return dial.with_(**given)

    def plan(self, dial: Dial) -> Plan:
        """Return the plan of a training with these sizes."""
        from septet.train.plan import Plan

        steps = max(1, round(dial.tokens / dial.batch_tokens))
        return Plan(
            steps=steps,
            learning_rate=dial.learning_rate,
            optimizer=self.optimizer,
            schedule=self.schedule,
            weight_decay=self.weight_decay,
            clip=self.clip,
            micro_rows=None if self.micro_tokens is None else max(1, self.micro_tokens // dial.context),
            precision=self.precision,
            recompute=self.recompute,
            compile=self.compile,
            average=self.average,
            eval_every=max(1, steps // self.evaluations),
            stop_after=self.stop_after,
            spike=self.spike,
            seed=self.seed,
        )

    def forecast(
        self, inputs: Mapping[str, Artifact | Step], *, runtime: Runtime, seconds: float = 0.0
    ) -> Forecast | None:
        """Return parameters, arithmetic, memory and time; of inputs that are not made yet the sizes that their steps say."""
        import torch  # with transformers 3 s; the command line does without

        from septet.nn.model import Model
        from septet.train.estimate import standin
        from septet.train.estimate.forecast import Known, forecast_training
        from septet.train.estimate.rows import known_rows

        made = {role: given for role, given in inputs.items() if isinstance(given, Artifact)}
        notes: list[str] = []
        if "tokenizer" in made or "continue_from" in made:
            start = self._start(made)
        elif "continue_from" in inputs:
            return Forecast(notes=("the model that is continued is not made yet, so nothing is known of this step.",))
        else:
            step = inputs["tokenizer"]
            size, family = getattr(step, "size", None), getattr(step, "family", None)
            if size is None or getattr(step, "import_from", None) is not None:
                return Forecast(notes=("the tokenizer is not made yet and does not say its size; run its step first.",))
            notes.append(f"the tokenizer is not made yet; {size:,} tokens are assumed, the most that it will have.")
            tokenizer = standin.tokenizer(size, family or "none")
            fitting = self._fitting(self.family, self.family.architecture)
            start = Start(self.family, fitting, tokenizer, self.derive(len(tokenizer)), None)
        dial, objective = start.dial, start.objective
        if "packed" in made:
            dial = self._ready(dial, made, objective)[0]
        elif "packed" in inputs:
            dial = dial.with_(context=int(getattr(inputs["packed"], "context", dial.context)) + objective.around)
        packed = known_rows(made, start.tokenizer, dial, objective) if "tokenizer" in made or start.folder else None
        if packed is None and self.tokens is None:
            notes.append(f"the length is what the depth derives; a small corpus is passed {MOST_EPOCHS} times at most.")
        elif packed is not None and self.tokens is None:
            dial = dial.with_(tokens=min(dial.tokens, max(dial.batch_tokens, MOST_EPOCHS * packed.targets)))
        plan = self.plan(dial)
        with torch.device("meta"):
            if start.folder is None:
                start.tokenizer.model_max_length = dial.context
                module = self.family.build(self.family.config(dial, start.tokenizer), pairs=objective.pairs)
            else:
                from transformers import AutoConfig

                from septet.nn.architecture import architecture_of, from_config

                config = AutoConfig.from_pretrained(str(start.folder), local_files_only=True, trust_remote_code=False)
                module = from_config(config, architecture_of(config), pairs=objective.pairs)
        known = Known(None)
        if packed is not None:
            used = packed.used(plan.steps, max(1, round(dial.batch_tokens / dial.context)), self.seed)
            known = Known(used, packed.text, min(packed.held_out, WATCHED_ROWS))
        if packed is None or objective.kind != "causal-lm":
            notes.append("tokens are positions; the padding at the end of rows is not taken off.")
        return forecast_training(
            self,
            Model(module, start.tokenizer),
            objective,
            dial,
            plan,
            known,
            inputs={role: artifact.path for role, artifact in made.items()},
            runtime=runtime,
            seconds=seconds,
            notes=notes,
        )


def _problem(objective: Objective | type[Objective], family: Family, architecture: str) -> str:
    """Return why a model of this family cannot learn an objective from text; nothing where it can."""
    if objective.learns_from != "text":
        return f"learns from {objective.learns_from}, not from text"
    if architecture not in objective.fits:
        return f"is for the architecture {' or '.join(sorted(objective.fits))}, and the family '{family.kind}' is '{architecture}'"
    if objective.pairs and not family.judges_pairs:
        return f"needs a head that judges pairs of sentences, and the family '{family.kind}' has none"
    return ""


def curve_rows(curve: Iterable[dict[str, Any]]) -> Iterable[dict[str, Any]]:
    """Turn the loop's records into the rows of `curve.jsonl`: no clock times, so equal runs have equal files."""
    for record in curve:
        held_out = record.get("held_out", {})
        yield {
            "step": record["step"],
            "tokens": record["tokens"],
            "loss": record["loss"],
            **({"skipped": record["skipped"]} if "skipped" in record else {}),
            **({"held_out_loss": held_out.get("nll", sum(held_out.values()))} if held_out else {}),
            "learning_rate": record["learning_rate"],
            "grad_norm": record["grad_norm"],
        }


def _token_counts(stream: Stream, dial: Dial, separator: int, vocabulary: int) -> torch.Tensor:
    """Return how often each token comes in the first batches of the training, int64 [V]; separators are not counted."""
    import numpy as np
    import torch

    from septet.data.layout import pieces

    counts_V = torch.zeros(vocabulary, dtype=torch.int64)
    for _ in range(max(1, min(COUNTED, dial.tokens) // dial.batch_tokens)):
        found = [ids for row in stream.next() for ids in pieces(row, separator)]
        if found:
            counts_V += torch.from_numpy(np.bincount(np.concatenate(found), minlength=vocabulary))
    return counts_V


def _tell(work: Work, step: Pretrain, start: Start, dial: Dial, facts: dict[str, Any], plan: Plan) -> None:
    given = {name for name in dial.facts() if getattr(step, name, None) is not None}
    parts = [
        f"{name.replace('_', ' ')} {value:,g}{' (given)' if name in given else ''}"
        for name, value in dial.facts().items()
    ]
    begins = f"{start.family.kind}: " if start.folder is None else "Going on with a model of "
    work.log(f"{begins}{facts['parameters']:,} parameters, objective {start.objective.kind}; {', '.join(parts)}.")
    packed = facts["packing"]
    work.log(
        f"{packed['samples']:,} documents, {packed['targets']:,} tokens in {packed['rows']:,} rows of {dial.context}, "
        f"{packed['waste']:.1%} of it padding; {packed['cut']:,} long documents were cut into {packed['pieces']:,} pieces. "
        f"{plan.steps:,} steps of {dial.batch_tokens:,} tokens are {facts['epochs']} passes over the text."
    )
