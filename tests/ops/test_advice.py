"""What is advised, on rows, models and machines that are made for it, with the answer known beforehand."""

from __future__ import annotations

from dataclasses import replace

import pytest

from septet.data.profile import Profile
from septet.infer.task import Task
from septet.nn.catalogue import catalogue
from septet.ops.advice import Candidate, Machine, architectures, choose, ladder, load_of, why_so_many
from septet.ops.candidates import _of_known
from septet.train.estimate.adapting import Cost
from septet.train.estimate.memory import Need

GIB = 2.0**30
CATALOGUE = [_of_known(one, "catalogue", "take it") for one in catalogue().models]


def rows(task: str, *, count: int = 5000, tokens: int = 40, language: str | None = "en", **more) -> Profile:
    return Profile(task=task, rows=count, parts={"train": count}, read=[tokens] * 100, language=language, **more)


def machine(gib: float = 24, speed: float | None = None) -> Machine:
    return Machine(name="a machine", cores=2, room=gib * GIB, speed=speed)


def cost(candidate: Candidate) -> dict[str, Cost]:
    """Weights alone: 4 bytes a parameter for lora, 16 for full."""
    n = candidate.parameters

    def one(kind: str, bytes_each: float) -> Cost:
        need = Need(bytes_each * n, 0, 0, 0, 0, rows=32, context=40, depth=1, width=1)
        return Cost(adapter=kind, learns=n, need=need, flops=6.0 * n * 40 * 5000)

    return {"full": one("full", 16), "lora": one("lora", 4)}


def chosen(profile: Profile, *, on: Machine | None = None, models: list[Candidate] = CATALOGUE, limit: int = 4):
    ranked = architectures(profile.purpose, Task.parse(profile.task).fits)
    return choose(profile, models, ranked, on or machine(), cost, limit=limit, budget=7200, batch=32)


@pytest.mark.parametrize(
    ("purpose", "task", "first", "cannot"),
    [
        ("tagging", "tagging", "encoder", []),
        ("classification", "classification", "encoder", []),
        ("question-answering", "question-answering", "encoder", []),
        ("translation", "text-to-text", "encoder-decoder", ["encoder", "permuted"]),
        ("summarisation", "text-to-text", "encoder-decoder", ["encoder", "permuted"]),
        ("chat", "chat", "decoder", ["encoder", "permuted", "encoder-decoder"]),
        ("completion", "completion", "decoder", ["encoder", "permuted", "encoder-decoder"]),
        ("similarity", "similarity", "encoder", ["encoder-decoder"]),
    ],
)
def test_the_task_decides_the_architecture(purpose: str, task: str, first: str, cannot: list[str]):
    ranked = architectures(purpose, Task.parse(task).fits)
    assert ranked[0].architecture == first
    assert [one.architecture for one in ranked if not one.fits] == cannot
    assert all(len(one.why) > 30 for one in ranked)


def test_every_task_has_its_architectures():
    from septet.data.examples import TASKS

    for task in TASKS:
        for purpose in ("translation", "summarisation", "rewriting") if task == "text-to-text" else (task,):
            assert {one.architecture for one in architectures(purpose, Task.parse(task).fits)} == {
                "encoder", "decoder", "permuted", "encoder-decoder",
            }  # fmt: skip


def test_german_names_are_never_looked_for_with_an_english_model():
    found, left = chosen(rows("tagging", language="de"), limit=50)
    assert found
    for one in found:
        assert one.candidate.languages is None or "de" in one.candidate.languages
    assert "FacebookAI/roberta-base" in left["not made for the language"]
    assert found[0].candidate.scores["XNLI"] == max(one.candidate.scores.get("XNLI", 0) for one in found)


def test_an_english_model_of_this_machine_is_not_offered_for_german_either():
    here = next(one for one in CATALOGUE if one.name.endswith("all-MiniLM-L6-v2"))
    found, left = chosen(rows("tagging", language="de"), models=[replace(here, where="package"), *CATALOGUE])
    assert here.name in left["not made for the language"]
    assert all(one.candidate.where == "catalogue" for one in found)


def test_models_of_this_machine_come_first_and_unknown_languages_are_told():
    own = Candidate(name="mine/encoder", where="store", architecture="encoder", parameters=10**7, shape={}, context=512)
    found, _ = chosen(rows("classification"), models=[*CATALOGUE, own])
    assert found[0].candidate is own
    assert found[1].candidate.where == "catalogue"


def test_a_pair_of_languages_has_a_model_of_its_own():
    found, left = chosen(rows("text-to-text", written=[40] * 100, written_in="de"))
    assert found[0].candidate.name == "Helsinki-NLP/opus-mt-en-de"
    assert left["translates another pair of languages"] == ["Helsinki-NLP/opus-mt-de-en"]
    assert all({"en", "de"} <= set(one.candidate.languages or ()) for one in found)


def test_summaries_are_asked_of_models_that_were_made_for_them():
    found, _ = chosen(rows("text-to-text", tokens=400, written=[40] * 100, written_in="en"))
    assert all("summarisation" in one.candidate.made_for for one in found)


def test_seventy_billion_parameters_do_not_fit_in_24_gib():
    found, left = chosen(rows("chat", written=[40] * 100, written_in="en"), limit=50)
    assert "meta-llama/Llama-3.1-70B-Instruct" in left["too large for the memory"]
    # 4 bytes each: a model of 8 billion takes 32 GB, one of 4 billion 16
    assert "meta-llama/Llama-3.1-8B-Instruct" in left["too large for the memory"]
    assert "Qwen/Qwen3-4B" in {one.candidate.name for one in found}


def test_fewer_rows_of_a_step_where_all_would_not_fit():
    def hungry(candidate: Candidate) -> dict[str, Cost]:  # weights and 1 GiB for each row of a step
        need = Need(candidate.parameters, 0, 0, 32 * GIB, 0, rows=32, context=40, depth=1, width=1)
        return {"lora": Cost(adapter="lora", learns=1, need=need)}

    profile = rows("classification")
    ranked = architectures("classification", ("encoder",))
    found, _ = choose(profile, CATALOGUE, ranked, machine(), hungry, limit=1, budget=7200, batch=32)
    assert found[0].batch == 16  # 22.8 GiB may be taken
    assert found[0].costs["lora"].peak == found[0].candidate.parameters + 16 * GIB


def test_rows_that_are_longer_than_the_context():
    # all rows are 600 tokens: 512 are too few, and models with more are left
    found, left = chosen(rows("classification", tokens=600), limit=50)
    assert "FacebookAI/roberta-base" in left["context too short"]
    assert {one.candidate.context for one in found} == {4096, 8192}
    # four of a hundred are: the models stay, and it is told
    some = Profile(task="classification", rows=100, parts={"train": 100}, read=[40] * 96 + [600] * 4, language="en")
    found, left = chosen(some)
    assert "context too short" not in left
    assert next(one for one in found if one.candidate.context == 512).cut == 0.04
    # words and their tags are read in pieces, so no row is too long
    assert "context too short" not in chosen(rows("tagging", tokens=600))[1]


def test_what_takes_longer_than_the_time_given_comes_after_what_does_not():
    # full of RoBERTa base: 6 x 125e6 x 40 x 5000 = 1.5e14 operations; at 1e10 a second 15,000 s
    found, left = chosen(rows("classification"), on=machine(speed=1e10), limit=50)
    slow = [one.slow for one in found]
    assert slow == sorted(slow)
    assert any(slow)
    assert not all(slow)
    # its attention to 4 operations for each of 355e6 parameters and 200,000 tokens: 28,400 s, more than three times two hours
    assert "FacebookAI/roberta-large" in left["too slow here"]


def rungs(count: int, gib: float):
    need = Need(1.0 * GIB, 1.0 * GIB, 2.0 * GIB, 3.2 * GIB, 0, rows=32, context=40, depth=1, width=1)
    small = replace(need, gradients=0.0, states=0.0)
    costs = {
        "full": Cost(adapter="full", learns=10, need=need),
        "last-layers": Cost(adapter="last-layers", learns=4, need=small),
        "lora": Cost(adapter="lora", learns=1, need=small),
        "prefix": Cost(adapter="prefix", why_not="A 'toy' has no place for it. Use lora."),
    }
    return ladder(rows("classification", count=count), costs, machine(gib))


def test_many_rows_teach_all_weights_and_few_only_some():
    best = {count: next(one.cost.adapter for one in rungs(count, 24) if one.recommended) for count in (50, 500, 5000)}
    assert best == {50: "lora", 500: "lora", 5000: "full"}
    assert "in-context" in why_so_many(50, "lora")
    assert "by heart" in why_so_many(500, "lora")
    assert "all weights" in why_so_many(5000, "full")


def test_what_does_not_fit_says_what_would():
    found = {one.cost.adapter: one for one in rungs(5000, 6.05)}
    # full: weights 1, states 2, and the larger of gradients 1 and activations 3.2 GiB: 6.2; 95% of 6.05 may be taken
    assert not found["full"].fits
    # n of the 32 rows keep n / 10: 1 + 2 + n / 10 <= 5.7475, so 27
    assert found["full"].verdict.startswith("does not fit: --batch-size 27 would")
    assert found["lora"].recommended
    assert found["prefix"].verdict == "A 'toy' has no place for it"
    # not even one row: nothing is recommended
    assert not any(one.recommended for one in rungs(5000, 1))
    assert "nothing here fits" in why_so_many(5000, None)


def test_rows_are_cut_at_the_models_context():
    load = load_of(rows("classification", tokens=600), "encoder", context=512, batch=32)
    assert load.read == 512
    assert not load.writes
