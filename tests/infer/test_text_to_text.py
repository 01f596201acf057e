"""Text to text: which tokens are read and learned, what is too long, real rows that come back whole, and models that reproduce.

python -m pytest tests/infer/test_text_to_text.py
"""

from __future__ import annotations

import gzip
import json
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from tests.train.text_models import WORDS, WRITERS, save
from transformers import AutoModelForCausalLM, AutoModelForSeq2SeqLM

from septet.core.errors import ComponentError, DataError
from septet.core.step import Runtime, Work
from septet.data.batches import Batches
from septet.data.packing import IGNORE
from septet.infer.tasks.text_to_text import TextToText
from septet.nn.load import open_model
from septet.train.loop import fit
from septet.train.objective import Objective, generators
from septet.train.plan import Plan
from septet.train.schedules.cosine import Cosine


def encode(task, model, *rows, max_tokens=None):
    return task.encode(enumerate(rows, 1), model, max_tokens=max_tokens or model.context, file="train.jsonl")


def row(source, target="w2 w3", **more):
    return {"source": source, "target": target, **more}


@pytest.fixture(params=WRITERS)
def folder(request, tmp_path):
    return save(request.param, tmp_path / "base", WORDS, context=32)


def test_the_two_sides_of_a_row(folder):
    task = TextToText(prefix="w9 ")
    model = task.open(folder, device="cpu")
    (sample,), prepared = encode(task, model, row("w1 w1"))
    say = model.tokenizer.convert_ids_to_tokens
    if model.architecture == "encoder-decoder":
        begin, end = {"t5": ([], ["</s>"]), "bart": (["<s>"], ["</s>"])}[model.config.model_type]
        assert say(sample.source.tolist()) == [*begin, "w9", "w1", "w1", *end]
        assert say(sample.target.tolist()) == [*begin, "w2", "w3", *end]
        assert prepared.targets == len(sample.target)
    else:
        learned = sample.labels != IGNORE
        first = say([model.tokenizer.bos_token_id])
        said = ["<|user|>", "w9", "w1", "w1", "<|end|>", "<|assistant|>", "w2", "w3"]
        assert say(sample.ids.tolist()) == [*first, *said]
        assert say(sample.labels[learned].tolist()) == ["w2", "w3", "<|end|>"]
        assert prepared.targets == 3
    assert (prepared.rows, prepared.cut, prepared.lost) == (1, 0, 0)


def test_what_is_too_long_is_refused_with_its_row_or_cut_and_counted(folder):
    long = row(" ".join(["w1"] * 60))
    refuses, cuts = TextToText(), TextToText(too_long="cut", max_new_tokens=4)
    model = cuts.open(folder, device="cpu")
    with pytest.raises(DataError, match=r"train.jsonl, row 2: the row has \d+ tokens, and 32 are read.*too_long: cut"):
        encode(refuses, model, row("w1"), long)
    with pytest.raises(DataError, match="and 32 are read"):
        refuses.predict(model, [row("w1"), long])
    (_, sample), prepared = encode(cuts, model, row("w1"), long)
    assert (prepared.rows, prepared.cut) == (2, 1)
    end = model.tokenizer.convert_tokens_to_ids("<|end|>" if model.architecture == "decoder" else "</s>")
    if model.architecture == "decoder":
        assert len(sample.ids) == 32
        assert sample.labels[-1] == end, "the target is whole"
        kept = int((sample.ids == model.tokenizer.convert_tokens_to_ids("w1")).sum())
    else:
        assert len(sample.source) == 32
        assert (sample.source[-1], sample.target[-1]) == (end, end)
        kept = int((sample.source == model.tokenizer.convert_tokens_to_ids("w1")).sum())
    assert prepared.lost == 60 - kept
    short, cut = cuts.predict(model, [row("w1"), long])
    assert "cut_tokens" not in short.facts
    # a decoder has its answer of 4 tokens in the same context, and 4 tokens around the source
    assert cut.facts["cut_tokens"] == 60 - (32 - 4 - 4 if model.architecture == "decoder" else kept)


def test_a_target_that_is_too_long_loses_its_end_and_no_end_is_learned(folder):
    task = TextToText(too_long="cut")
    model = task.open(folder, device="cpu")
    long = row(" ".join(["w1"] * 60), " ".join(["w2"] * 60))
    (sample,), prepared = encode(task, model, long)
    one, two = (model.tokenizer.convert_tokens_to_ids(word) for word in ("w1", "w2"))
    learned = sample.target if model.architecture == "encoder-decoder" else sample.labels[sample.labels != IGNORE]
    assert learned[-1] == two
    read = sample.source if model.architecture == "encoder-decoder" else sample.ids
    # all that is not learned and not read is counted, the end of the target too
    assert prepared.lost == 60 - int((read == one).sum()) + 60 - int((learned == two).sum()) + 1
    if model.architecture == "decoder":
        assert int((read == one).sum()) >= 8, "of two long texts none takes everything"
    with pytest.raises(ComponentError, match=r"nothing of a source fits into \d+ tokens"):
        encode(TextToText(too_long="cut", prefix="w9 " * 40), model, long)


@pytest.mark.parametrize(
    ("bad", "message"),
    [
        ({"source": "w1"}, "row 1: the field 'target' is missing"),
        ({"source": "w1", "target": " "}, "row 1: the field 'target' is empty"),
        ({"sorce": "w1", "target": "w1"}, "the field 'source' is missing. Did you mean 'sorce'"),
        ({"source": ["w1"], "target": "w1"}, "'source' holds list; text is expected"),
    ],
)
def test_rows_that_cannot_be_learned_are_named(bad, message, tmp_path):
    task = TextToText()
    model = task.open(save("t5", tmp_path, WORDS), device="cpu")
    with pytest.raises(DataError, match=message):
        encode(task, model, bad)


def test_what_is_right():
    task = TextToText()
    assert task.expected(row("a", "b")) == "b"
    assert task.expected(row("a", "b", references=["b"])) == "b"
    assert task.expected(row("a", "b", references=["c", "b"])) == ["b", "c"]
    assert task.expected({"source": "a", "references": ["c", "d"]}) == ["c", "d"]
    with pytest.raises(DataError, match="'references' must be a list of texts"):
        task.expected(row("a", "b", references="c"))
    with pytest.raises(DataError, match="'target' is missing"):
        task.expected({"source": "a"})
    assert task.row("typed") == {"source": "typed"}
    with pytest.raises(ComponentError, match="reads one text"):
        task.row("typed", pair="other")


def test_who_teaches_it(tmp_path):
    task = TextToText(label_smoothing=0.1)
    t5 = task.open(save("t5", tmp_path / "t5", WORDS), device="cpu")
    assert task.taught_by(t5) == {
        "kind": "sequence-to-sequence", "label_smoothing": 0.1, "packed": True, "row": 64, "decoder_start": 0
    }  # fmt: skip
    llama = task.open(save("llama", tmp_path / "llama", WORDS), device="cpu")
    with pytest.raises(ComponentError, match="label_smoothing: a decoder learns without"):
        task.taught_by(llama)
    assert TextToText().taught_by(llama) == "supervised"
    with pytest.raises(DataError, match="'decoder' or 'encoder-decoder' is needed"):
        task.open(save("bert", tmp_path / "bert", WORDS), device="cpu")


# -- learning ------------------------------------------------------------------------------------------------------------


def toys(count: int = 12) -> list[dict[str, str]]:
    """Words in reverse."""
    rng = np.random.default_rng(1)
    texts = [rng.choice(WORDS[:12], int(rng.integers(2, 6))).tolist() for _ in range(count)]
    return [row(" ".join(words), " ".join(words[::-1])) for words in texts]


def test_every_writer_learns_to_reproduce_exactly_and_plain_transformers_agrees(folder, tmp_path):
    task = TextToText(max_new_tokens=10, beams=2)
    model = task.open(folder, device="cpu")
    samples, _ = encode(task, model, *toys())
    objective = Objective.parse(task.taught_by(model)).suited(model.architecture)
    plan = Plan(steps=250, learning_rate=1e-2, schedule=Cosine(warmup=10), precision="float32")
    work = Work(out=tmp_path, state=tmp_path, runtime=Runtime(device="cpu", threads=1))
    fit(model, objective, Batches(samples, 12, seed=0), plan, work=work)
    found = task.predict(model, toys())
    assert [one.prediction for one in found] == [one["target"] for one in toys()]
    assert all(not one.facts for one in found), "each ended by itself"
    greedy = task.model_copy(update={"beams": 1}).predict(model, toys())
    assert [one.prediction for one in greedy] == [one["target"] for one in toys()]
    # the folder, opened by plain transformers: equal logits, equal words
    task._prepare(model)
    model.save(tmp_path / "saved")
    whole = model.architecture == "encoder-decoder"
    plain = (AutoModelForSeq2SeqLM if whole else AutoModelForCausalLM).from_pretrained(tmp_path / "saved").eval()
    batch = objective.prepare(samples[:1], model.tokenizer, generators(1, 0))
    names = {"input_ids", "decoder_input_ids"} & set(batch.inputs)
    with torch.no_grad():
        ours = model.outputs(batch.inputs).logits
        theirs = plain(**{name: batch.inputs[name] for name in names}).logits
    torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-4)
    prompt = (
        torch.from_numpy(samples[0].source)[None]
        if whole
        else batch.inputs["input_ids"][:, : first_learned(samples[0])]
    )
    line = plain.generate(prompt, attention_mask=torch.ones_like(prompt))[0]
    line = line if whole else line[prompt.shape[1] :]
    assert model.tokenizer.decode(line, skip_special_tokens=True) == toys()[0]["target"]


def first_learned(sample) -> int:
    return int((sample.labels != IGNORE).argmax()) + 1


# -- long texts ----------------------------------------------------------------------------------------------------------


def test_a_long_text_is_read_in_windows_and_a_short_one_as_ever(folder):
    task = TextToText(too_long="map-reduce", max_new_tokens=5)
    model = task.open(folder, device="cpu")
    long = "\n".join(f"w{number} w1 w2 w3 w4" for number in range(12))
    found = task.predict(model, [row(long), row("w1 w2")])
    # a model that has learned nothing may write as much as it reads; windows are counted all the same
    assert found[0].facts["windows"] >= 2
    assert found[0].facts["windows_read"] >= found[0].facts["windows"]
    assert found[1].facts == {"windows": 1, "windows_read": 1}
    plain = task.model_copy(update={"too_long": "refuse"}).predict(model, [row("w1 w2")])
    assert found[1].prediction == plain[0].prediction


def test_every_token_of_a_long_text_is_read(tmp_path, monkeypatch):
    task = TextToText(too_long="map-reduce", max_new_tokens=5)
    model = task.open(save("t5", tmp_path, WORDS, context=32), device="cpu")
    prompts: list[list[int]] = []

    def spy(model, some, **settings):
        prompts.extend(some)
        return [SimpleNamespace(text="w1")] * len(some)

    monkeypatch.setattr("septet.infer.tasks.text_to_text.written", spy)
    text = "\n".join(f"w{number % 24} w{(number * 7) % 24} w3." for number in range(40))
    (found,) = task.predict(model, [row(text)])
    windows, last = prompts[: found.facts["windows"]], prompts[found.facts["windows"] :]
    ids = model.tokenizer.encode(text, add_special_tokens=False)
    assert [token for window in windows for token in window[:-1]] == ids
    assert all(len(window) <= 32 for window in prompts)
    assert found.facts["windows_read"] == len(windows) + len(last)


# -- real rows -----------------------------------------------------------------------------------------------------------


def lines(path):
    with gzip.open(path, "rt", encoding="utf-8") as file:
        return [line.rstrip("\n") for line in file]


def real_rows(folder):
    multi = folder / "translation/multi30k_en_de"
    for source, target in zip(lines(multi / "val.en.gz")[:60], lines(multi / "val.de.gz")[:60], strict=True):
        yield {"source": source, "target": target}
    for line in lines(folder / "summarization/dialogsum/dialogsum.test.jsonl.gz")[:30]:
        found = json.loads(line)
        summaries = [found[f"summary{number}"] for number in (1, 2, 3)]
        yield {"source": found["dialogue"], "target": summaries[0], "references": summaries}
    for line in lines(folder / "summarization/scitldr/dev.jsonl.gz")[:30]:
        found = json.loads(line)
        yield {"source": " ".join(found["source"]), "target": found["target"][0], "references": found["target"]}


@pytest.mark.parametrize("family", WRITERS)
def test_real_rows_are_encoded_without_loss(family, real_data, tmp_path):
    """Bytes are tokens here, so what is learned must be the text itself, byte for byte."""
    task = TextToText()
    model = task.open(save(family, tmp_path, context=6000), device="cpu")
    rows = list(real_rows(real_data))
    samples, prepared = encode(task, model, *rows)
    assert (prepared.rows, prepared.cut, prepared.lost) == (120, 0, 0)
    say = model.tokenizer.decode
    for sample, real in zip(samples, rows, strict=True):
        if model.architecture == "encoder-decoder":
            read, learned = sample.source, sample.target
        else:
            learned = sample.labels[sample.labels != IGNORE]
            read = sample.ids[: len(sample.ids) + 1 - len(learned)]
        assert say(read, skip_special_tokens=True) == real["source"]
        assert say(learned, skip_special_tokens=True) == real["target"]
        assert learned[-1] in model.base.generation_config.eos_token_id if model.architecture == "decoder" else True
    assert isinstance(task.expected(rows[70]), list)


def test_an_encoder_is_refused_by_the_loader(tmp_path):
    save("bert", tmp_path, WORDS)
    with pytest.raises(DataError, match="architecture 'encoder'"):
        open_model(tmp_path, architectures=TextToText.fits)
