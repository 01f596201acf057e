"""Which architecture, which models and which adapter suit a data set and a machine, each with its reason.

Functions of what is known: the profile of the rows, the models that could be had, the machine. The rules are of thumb, and said:
what a task needs decides the architecture; language and context decide which models can read the rows; memory and time which can be
taught here; the number of rows how much of a model should learn. Which is best on these rows only a trial tells (`septet adapt`).

What it is not: a measurement, or a look at anything outside; the caller brings the models.

    python -m pytest tests/ops/test_advice.py
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from septet.core.quantities import size
from septet.data.profile import Profile, share_longer
from septet.infer.task import Task
from septet.nn.catalogue import Known
from septet.train.estimate.adapting import Cost, Load

__all__ = ["Candidate", "Choice", "Machine", "Ranked", "Rung", "architectures", "choose", "ladder", "load_of"]

Where = Literal["store", "package", "cache", "catalogue"]

NAMES = {
    "encoder": "encoder",
    "decoder": "decoder",
    "permuted": "permuted (XLNet)",
    "encoder-decoder": "encoder-decoder",
}
_SEES_ALL = "Each token sees all others, before and after it"
WHY: dict[str, tuple[tuple[str, str], ...]] = {
    "classification": (
        ("encoder", f"{_SEES_ALL}, and one pass ends in a small head that chooses the label: all that the answer needs."),
        ("permuted", "It too sees both sides, by reading in many orders; its attention has more parts, so it is slower."),
        ("encoder-decoder", "Its encoder reads as well; the decoder behind it is work that a label does not need."),
        ("decoder", "Each token sees only those before it, so the label is read off the last. Worth it where a large one is at "
         "hand, or where rows are so few that it answers from examples."),
    ),
    "tagging": (
        ("encoder", "A word's tag depends on the words after it too (May I, May 1st, May Smith). Each token sees both sides, and "
         "all words are tagged in one pass."),
        ("permuted", "It too sees both sides, by reading in many orders; slower."),
        ("encoder-decoder", "It sees both sides; the decoder behind it is work that a tag for each word does not need."),
        ("decoder", "It tags a word before it has seen those that follow, which costs most where names begin."),
    ),
    "question-answering": (
        ("encoder", "Question and passage are read together, each seeing the other, and a head points at the two ends of the "
         "answer: what it answers stands in the passage."),
        ("permuted", "It too sees both sides; slower."),
        ("encoder-decoder", "Its encoder reads as well; it is needed where answers are written in other words than the passage's."),
        ("decoder", "It points at words without having seen those after them; better used to write the answer."),
    ),
    "translation": (
        ("encoder-decoder", "The encoder sees the whole sentence, both sides of each word, before the first word is written; the "
         "decoder writes, and looks back at all of it for every word. The two lengths are free of each other."),
        ("decoder", "It reads the sentence as a prompt, each token seeing only those before it; large ones do it well."),
    ),
    "summarisation": (
        ("encoder-decoder", "The encoder reads the whole text once, both sides of each word; the decoder writes a short one, and "
         "looks back at all of it for every word."),
        ("decoder", "It reads the text as a prompt, each token seeing only those before it; large ones do it well."),
    ),
    "rewriting": (
        ("encoder-decoder", "The encoder reads the whole text, both sides of each word; the decoder writes the other, and looks "
         "back at all of it for every word."),
        ("decoder", "It reads the text as a prompt, each token seeing only those before it; large ones do it well."),
    ),
    "chat": (
        ("decoder", "Answering is going on with a conversation, token by token, each seeing those before it: what it was "
         "pre-trained for. Every token of an answer teaches."),
    ),
    "completion": (
        ("decoder", "Going on with a text, token by token, each seeing those before it, is what it was pre-trained for."),
    ),
    "similarity": (
        ("encoder", f"{_SEES_ALL}; the mean of their vectors stands for the whole text, and comparing two texts is one product."),
        ("permuted", "It too sees both sides; slower."),
        ("encoder-decoder", "Its encoder alone could do it; that half is not taught by itself here."),
        ("decoder", "Only its last token has seen the whole text; large ones serve, at a large one's price."),
    ),
}  # fmt: skip
WHY["multi-label"] = WHY["regression"] = WHY["classification"]
CANNOT = {
    "encoder": "It has an output for each token that it reads, and none to write a text of another length with.",
    "permuted": "It is taught here for labels, tags and spans, not to write.",
    "encoder-decoder": "It could write the answer; going on with texts and conversations is taught to decoders here.",
    "decoder": "It writes; this task asks for something else.",
}
TAG = frozenset({"t5", "mt5"})
"""Encoder-decoders for which transformers has a head that tags words."""
MOST_CUT = 0.05
"""A model is left out where more than this share of the rows would be cut."""
FEW, MANY = 100, 1000
"""Rows below which a model should rather be shown examples, and from which all of it may learn: rules of thumb."""
MUST_FIT = 0.95
"""Of the memory that is free, what a training may take."""


@dataclass(frozen=True, slots=True)
class Ranked:
    """An architecture, and why it stands where it stands. fits: whether it can do the task at all."""

    architecture: str
    why: str
    fits: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class Machine:
    """room: bytes that a training may take; None where nobody knows. speed: operations a second; None where not measured."""

    name: str
    cores: int
    room: float | None
    speed: float | None = None
    measured: str = ""

    def seconds(self, operations: float) -> float | None:
        return None if self.speed is None else operations / self.speed


@dataclass(frozen=True, slots=True, kw_only=True)
class Candidate(Known):
    """A model that could be taken. take: the command that brings it into the store; "" where it is there. note: to be told too."""

    where: Where
    take: str = ""
    note: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Choice:
    """A model that fits. costs: of full and lora, with `batch` rows of a step. seconds: of one pass with the quicker that fits.

    cut: share of rows that are longer than its context. slow: over the time given.
    """

    candidate: Candidate
    costs: Mapping[str, Cost]
    batch: int
    cut: float
    seconds: float
    slow: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Rung:
    """An adapter on the model that is recommended. seconds: of one pass over the rows. verdict: what to say of it."""

    cost: Cost
    seconds: float | None
    fits: bool
    verdict: str
    recommended: bool = False


def architectures(purpose: str, fits: Sequence[str]) -> list[Ranked]:
    """Return the architectures, the best for a task first; those that cannot do it last. fits: of the task (`Task.fits`)."""
    known = dict(WHY[purpose])
    ranked = [Ranked(name, why) for name, why in known.items() if name in fits]
    return [*ranked, *(Ranked(name, known.get(name, CANNOT[name]), False) for name in NAMES if name not in fits)]


def load_of(profile: Profile, architecture: str, *, context: int | None, batch: int) -> Load:
    """Return what a training with this architecture computes; rows are cut at the context."""
    writes = bool(profile.written)
    return Load.of(
        profile.read,
        profile.written if writes else (),
        rows=profile.rows,
        batch=batch,
        room=context,
        packs=writes and architecture == "decoder",
    )


def cut_share(profile: Profile, candidate: Candidate, most: int | None = None) -> float:
    """Return the share of rows that are longer than a model's context, or than `most` tokens, by estimated tokens."""
    limits = [limit for limit in (most, candidate.context) if limit is not None]
    if not limits:
        return 0.0
    tokens = profile.whole if candidate.architecture == "decoder" else profile.read
    return share_longer(tokens, min(limits))


def options_for_length(profile: Profile, candidate: Candidate, most: int | None = None) -> str:
    """Return what `finetune` must be told of rows that are longer than the model reads, or than `most` tokens; "" where none is.

    A row whose tokens are only estimated may be longer all the same; `finetune` refuses and names it then.
    """
    told = [] if most is None else [f"--max-tokens {most}"]
    if not Task.parse(profile.task).in_pieces and cut_share(profile, candidate, most):
        told.append(f"--task '{{kind: {profile.task}, too_long: cut}}'")
    return " ".join(told)


def refuses(profile: Profile, candidate: Candidate, cut: int | None = None) -> str:
    """Return why a model cannot read these rows, in a few words that are equal for equal reasons; "" where it can.

    cut: tokens at which rows will be cut anyway.
    """
    if (
        profile.task == "tagging"
        and candidate.architecture == "encoder-decoder"
        and candidate.shape["model_type"] not in TAG
    ):
        return "no head for tags"
    if candidate.pair is not None and profile.purpose != "translation":
        return "made for translation only"
    if candidate.pair is not None and (profile.language, profile.written_in) != candidate.pair:
        return "translates another pair of languages"
    needed = [code for code in (profile.language, profile.written_in) if code]
    if candidate.languages is not None and not set(needed) <= set(candidate.languages):
        return "not made for the language"
    wanted = cut is not None and candidate.context is not None and cut <= candidate.context
    if not Task.parse(profile.task).in_pieces and not wanted and cut_share(profile, candidate) > MOST_CUT:
        return "context too short"
    return ""


def quality(profile: Profile, candidate: Candidate) -> tuple[Any, ...]:
    """Return a key that sorts models, the likelier first, before memory and time are asked for.

    What was made for the purpose, or for this pair of languages, comes first; then models whose page names the language, those of
    one language before those of many; then by a published score where there is one, and by size.
    """
    purpose = {"chat": "instructions", "rewriting": "instructions"}.get(profile.purpose, profile.purpose)
    made = purpose in candidate.made_for
    other = bool(candidate.made_for) and not made
    english = profile.language in ("en", None)
    score = candidate.scores.get("MNLI" if english else "XNLI", 0.0)
    return (
        candidate.pair is None and purpose == "translation",
        not made,
        other,
        candidate.weights == "pickle",
        candidate.languages is None and profile.language is not None,
        len(candidate.languages or ()) > 1 if english else False,
        profile.task == "tagging" and not candidate.cased,
        -score,
        -candidate.parameters,
    )


def choose(
    profile: Profile,
    candidates: Sequence[Candidate],
    ranked: Sequence[Ranked],
    machine: Machine,
    cost: Callable[[Candidate], Mapping[str, Cost]],
    *,
    limit: int,
    budget: float,
    batch: int,
    cut: int | None = None,
) -> tuple[list[Choice], dict[str, list[str]]]:
    """Return the models that fit, those on this machine first, and the names of those left out by reason.

    cost: works out full and lora for a model; asked only where it may matter. budget: seconds that one pass over the rows may
    take; models that need longer come after those that do not. batch: rows of a step, halved until a model fits. cut: tokens at
    which rows are cut.
    """
    order = [one.architecture for one in ranked if one.fits]
    here = [one for one in candidates if one.where != "catalogue" and one.architecture in order]
    there = [one for one in candidates if one.where == "catalogue" and one.architecture in order[:1]]
    here.sort(key=lambda one: (order.index(one.architecture), quality(profile, one)))
    there.sort(key=lambda one: quality(profile, one))
    taken: dict[bool, list[Choice]] = {True: [], False: []}
    left: dict[str, list[str]] = {}
    names = {one.name for one in here}
    for candidate in [*here, *(one for one in there if one.name not in names)]:
        local = candidate.where != "catalogue"
        reason = refuses(profile, candidate, cut)
        if not reason and sum(not one.slow for one in taken[local]) >= limit:
            reason = "further down the list"
        if not reason and not local and _hopeless(profile, candidate, machine, budget, batch):
            reason = "too slow here"
        if not reason:
            found, rows = _smaller(cost(candidate), batch, _allowed(machine))
            if not rows:
                reason = "too large for the memory"
        if reason:
            left.setdefault(reason, []).append(candidate.name)
            continue
        times = [machine.seconds(one.flops) for one in found.values() if one.fits(_allowed(machine))]
        seconds = min((one for one in times if one is not None), default=0.0)
        one = Choice(
            candidate=candidate,
            costs=found,
            batch=rows,
            cut=cut_share(profile, candidate),
            seconds=seconds,
            slow=seconds > budget,
        )
        taken[local].append(one)
    hopeless = [one for one in there if one.name in left.get("too slow here", ())]
    for candidate in sorted(hopeless, key=lambda one: one.parameters)[: 0 if any(taken.values()) else limit]:
        # nothing else is left, so the smallest of what is too slow is told
        costs, fitting = _smaller(cost(candidate), batch, _allowed(machine))
        if fitting:
            left["too slow here"].remove(candidate.name)
            seconds = machine.seconds(min(one.flops for one in costs.values())) or 0.0
            cut_off = cut_share(profile, candidate)
            taken[False].append(
                Choice(candidate=candidate, costs=costs, batch=fitting, cut=cut_off, seconds=seconds, slow=True)
            )
    chosen = []
    for local in (True, False):
        # of what takes longer than it may, the quickest first
        inside = [one for one in taken[local] if not one.slow]
        order_of_time = sorted((one for one in taken[local] if one.slow), key=lambda one: one.seconds)
        chosen += [*inside, *order_of_time][:limit]
        for one in [*inside, *order_of_time][limit:]:
            left.setdefault("too slow here", []).append(one.candidate.name)
    return chosen, left


def _smaller(costs: Mapping[str, Cost], batch: int, room: float | None) -> tuple[Mapping[str, Cost], int]:
    """Return the costs with as many rows of a step as let one of them fit, and how many those are; 0 where none does."""
    while batch:
        found = {kind: one.at(batch) for kind, one in costs.items()}
        if any(one.fits(room) for one in found.values()):
            return found, batch
        batch //= 2
    return costs, 0


def _allowed(machine: Machine) -> float | None:
    return None if machine.room is None else machine.room * MUST_FIT


def _hopeless(profile: Profile, candidate: Candidate, machine: Machine, budget: float, batch: int) -> bool:
    """Whether four operations for each weight and position take twice the time given already, so that nothing need be counted."""
    shape = candidate.shape
    width = next((shape[name] for name in ("hidden_size", "d_model", "dim", "n_embd") if name in shape), 0)
    weights = candidate.parameters - width * shape.get("vocab_size", 0)  # looking up multiplies nothing
    load = load_of(profile, candidate.architecture, context=candidate.context, batch=batch)
    positions = load.total_read
    if candidate.architecture == "decoder":
        positions += load.total_written
    elif candidate.architecture == "encoder-decoder":
        positions = (load.total_read + load.total_written) / 2  # each half sees its own side
    seconds = machine.seconds(4.0 * weights * positions)
    return seconds is not None and seconds > 2 * budget


REASONS = {
    "full": "all weights: the most is learned, for the most memory",
    "last-layers": "quick: the backward pass ends early",
    "lora": "small matrices beside the weights: near to full",
    "qlora": "LoRA beside four-bit weights, where lora does not fit",
    "ia3": "scales of keys, values, feed-forward: small changes",
    "prompt": "vectors before the text; for large models",
    "p-tuning": "such vectors, made by a network: learn more easily",
    "prefix": "keys and values before the text, in every layer",
}


def ladder(profile: Profile, costs: Mapping[str, Cost], machine: Machine) -> list[Rung]:
    """Return the adapters on one model in the order of `costs`, with one recommended and the reason for each."""
    room = _allowed(machine)
    prefer = ("full", "lora", "qlora", "last-layers") if profile.rows >= MANY else ("lora", "last-layers", "qlora")
    best = next((kind for kind in (*prefer, *costs) if kind in costs and costs[kind].fits(room)), None)
    found = []
    for kind, cost in costs.items():
        fits = cost.fits(room)
        verdict = REASONS[kind]
        if cost.need is None:
            verdict = re.split(r"[.;:] ", cost.why_not)[0].rstrip(".")
        elif not fits and room is not None:
            verdict = f"does not fit: {_ways(cost, room)}"
        found.append(
            Rung(cost=cost, seconds=machine.seconds(cost.flops), fits=fits, verdict=verdict, recommended=kind == best)
        )
    return found


def why_so_many(rows: int, adapter: str | None) -> str:
    """Return the sentence on how much of a model should learn from so many rows."""
    if adapter is None:
        return (
            f"With {rows:,} rows nothing here fits; take a smaller model, shorter rows (--max-tokens) or more memory."
        )
    if rows < FEW:
        return (
            f"{rows:,} rows are few: try a model that answers from examples first (docs/guides/remote.md, in-context learning), "
            f"and let little learn: {adapter}. Mark some more rows; nothing helps as much."
        )
    if rows < MANY:
        return (
            f"{rows:,} rows are enough for {adapter}, and little for all weights: many weights learn few rows by heart."
        )
    if adapter == "full":
        return f"{rows:,} rows can teach all weights, and memory allows it; lora beside it is the check whether that is needed."
    return f"{rows:,} rows could teach all weights; memory does not allow it, so {adapter}."


def _ways(cost: Cost, room: float) -> str:
    batch = cost.batch_that_fits(room)
    if batch:
        return f"--batch-size {batch} would ({size(cost.at(batch).peak)})"
    if cost.opening > room:
        return f"opening the model alone takes {size(cost.opening)}"
    return f"even one row a step takes {size(cost.at(1).peak)}"
