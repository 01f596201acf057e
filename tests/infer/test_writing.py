"""Writing in batches: what plain transformers writes from the saved folder, what a loop without a cache writes, beams by hand.

python -m pytest tests/infer/test_writing.py
"""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch
from tests.train.text_models import WRITERS, save, tokenizer
from tokenizers import processors
from transformers import AutoModelForCausalLM, AutoModelForSeq2SeqLM

from septet.core.errors import DataError
from septet.infer.engine import ContextError, EngineError, Request, open_engine
from septet.infer.engines.torch import TorchEngine
from septet.infer.tasks.text_to_text import TextToText
from septet.infer.writing import around, prepare_to_write, written
from septet.nn.load import open_model

BOTH = ("decoder", "encoder-decoder")


WORDS = [f"w{number}" for number in range(200)]
TABLES = ("embed", "shared", "wte", "wpe", "lm_head")


def opened(family, folder, *, sharp: float = 16.0, **settings):
    """A tiny model with larger weights than at first, so that what it writes depends on what it reads."""
    model = TextToText(max_new_tokens=10, **settings).open(save(family, folder / "base", WORDS), device="cpu")
    with torch.no_grad():
        for name, parameter in model.module.named_parameters():
            if parameter.dim() == 2 and not any(table in name for table in TABLES):
                parameter.mul_(sharp)
    return model


def prompts(count: int = 9, *, seed: int = 3) -> list[list[int]]:
    """Ids that are words in every vocabulary here."""
    rng = np.random.default_rng(seed)
    return [rng.integers(120, 200, int(rng.integers(1, 20))).tolist() for _ in range(count)]


@pytest.mark.parametrize("family", WRITERS)
@pytest.mark.parametrize("beams", [1, 3])
def test_the_saved_folder_writes_the_same_in_plain_transformers(family, beams, tmp_path):
    """One prompt at a time, without padding, and with no argument but the prompt: the settings are the folder's."""
    model = opened(family, tmp_path, beams=beams, length_penalty=0.7 if beams > 1 else 1.0)
    found = written(model, prompts(), max_new_tokens=10, beams=beams, length_penalty=0.7 if beams > 1 else 1.0)
    model.save(tmp_path / "saved")
    auto = AutoModelForSeq2SeqLM if model.architecture == "encoder-decoder" else AutoModelForCausalLM
    plain = auto.from_pretrained(tmp_path / "saved").eval()
    assert len({one.text for one in found}) > 3, "what is written depends on what is read"
    for prompt, one in zip(prompts(), found, strict=True):
        ids = torch.tensor([prompt])
        line = plain.generate(ids, attention_mask=torch.ones_like(ids))[0]
        line = line[1:] if model.architecture == "encoder-decoder" else line[len(prompt) :]
        assert one.text == model.tokenizer.decode(line, skip_special_tokens=True)
        ends = plain.generation_config.eos_token_id
        assert one.finished == bool(np.isin(line, ends).any())


@pytest.mark.parametrize("family", ["t5", "bart"])
def test_greedy_is_the_likeliest_token_after_reading_everything_again(family, tmp_path):
    """Without a cache and without `generate`: the encoder and the decoder read all tokens for each new one."""
    model = opened(family, tmp_path)
    found = written(model, prompts(), max_new_tokens=10)
    settings = model.base.generation_config
    for prompt, one in zip(prompts(), found, strict=True):
        line = [settings.decoder_start_token_id]
        with torch.no_grad():
            while len(line) == 1 or (len(line) < 11 and line[-1] != settings.eos_token_id):
                inputs = {"input_ids": torch.tensor([prompt]), "decoder_input_ids": torch.tensor([line])}
                likeliest = int(model.outputs(inputs).logits[0, -1].argmax())
                line.append(settings.forced_bos_token_id if len(line) == 1 and family == "bart" else likeliest)
        assert one.text == model.tokenizer.decode(line[1:], skip_special_tokens=True)
        assert one.num_tokens == len(line) - 1


@pytest.mark.parametrize("family", WRITERS)
def test_greedy_is_what_the_engine_writes(family, tmp_path):
    model = opened(family, tmp_path)
    found = written(model, prompts(), max_new_tokens=10)
    with TorchEngine(model.module, model.tokenizer) as engine:
        theirs = engine.generate_batch([Request(tokens=prompt, max_tokens=10) for prompt in prompts()])
    assert [one.text for one in found] == [one.text for one in theirs]
    assert [one.finished for one in found] == [one.finish_reason == "stop" for one in theirs]


@pytest.mark.parametrize("penalty", [0.0, 1.0, 3.0])
def test_beams_find_the_best_of_all_texts(penalty, tmp_path):
    """As many beams as tokens, and texts of at most two tokens: nothing is pruned, so the best of all is found."""
    model = opened("t5", tmp_path, sharp=2.0)
    size = model.base.get_output_embeddings().weight.shape[0]
    prompt = prompts(1)[0]
    (found,) = written(model, [prompt], max_new_tokens=2, beams=size, length_penalty=penalty)
    start, end = model.base.generation_config.decoder_start_token_id, model.base.generation_config.eos_token_id
    with torch.no_grad():
        ids = torch.tensor([prompt]).expand(size, -1)
        read = torch.stack([torch.full((size,), start), torch.arange(size)], dim=1)
        logps_VTV = model.outputs({"input_ids": ids, "decoder_input_ids": read}).logits.log_softmax(-1)
    scores = {(end,): float(logps_VTV[0, 0, end])}
    for first, second in itertools.product(range(size), repeat=2):
        if first != end:
            scores[first, second] = float(logps_VTV[0, 0, first] + logps_VTV[first, 1, second]) / 2**penalty
    best = max(scores, key=scores.__getitem__)
    assert found.text == model.tokenizer.decode(best, skip_special_tokens=True)
    assert found.num_tokens == len(best)


def test_what_stands_around_a_text():
    assert around(tokenizer("t5")) == ([], [1])
    assert around(tokenizer("bart")) == ([0], [2])
    # a word that the tokenizer does not know may be the very token that begins a text
    assert around(tokenizer("bart", ["w1"])) == ([0], [2])
    bare = tokenizer("t5")
    bare.backend_tokenizer.post_processor = processors.Sequence([])
    assert around(bare) == ([], [1])
    bare.bos_token = "<unk>"
    assert around(bare) == ([2], [1])
    bare.eos_token = None
    with pytest.raises(DataError, match="no answer could ever end"):
        around(bare)


def test_foreign_settings_are_dropped_and_those_of_the_task_kept(tmp_path):
    model = open_model(save("bart", tmp_path, WORDS), device="cpu", architectures=BOTH)
    model.base.generation_config.update(min_length=56, no_repeat_ngram_size=3, num_beams=4)
    prepare_to_write(model, max_new_tokens=9, beams=1, length_penalty=2.0)
    settings = model.base.generation_config
    assert (settings.min_length, settings.no_repeat_ngram_size, settings.num_beams) == (None, None, None)
    assert (settings.max_new_tokens, settings.eos_token_id, settings.forced_bos_token_id) == (9, 2, 0)
    model.base.config.decoder_start_token_id = None
    settings.decoder_start_token_id = None
    with pytest.raises(DataError, match="decoder_start_token_id"):
        prepare_to_write(model, max_new_tokens=9, beams=1, length_penalty=1.0)


@pytest.mark.parametrize("family", ["bart", "gpt2"])
def test_the_context_ends_what_is_written_and_progress_is_told(family, tmp_path):
    model = opened(family, tmp_path)
    context = model.context
    long = [[12] * (context - 3), [13], [14] * (context - 3)]
    told: list[tuple[int, int]] = []
    found = written(model, long, max_new_tokens=2 * context, tell=lambda done, total: told.append((done, total)))
    most = context - 1 if family == "bart" else 3
    assert found[0].num_tokens <= most
    assert found[1].num_tokens <= context - 1
    assert told[-1] == (3, 3)
    assert [done for done, _ in told] == sorted(done for done, _ in told)
    alone = [written(model, [prompt], max_new_tokens=2 * context)[0] for prompt in long]
    assert alone == found


@pytest.mark.parametrize("family", ["t5", "bart"])
def test_the_engine_serves_an_encoder_decoder_from_its_folder(family, tmp_path):
    model = opened(family, tmp_path)
    model.save(tmp_path / "saved")
    text = "w3 w141 w59"
    before, after = around(model.tokenizer)
    read = [*before, *model.tokenizer.encode(text, add_special_tokens=False), *after]
    (ours,) = written(model, [read], max_new_tokens=10)
    with open_engine(tmp_path / "saved", device="cpu") as engine:
        assert (engine.context, engine.can) == (64, {"generate"})
        streams = [engine.submit(Request(prompt=text, max_tokens=10)) for _ in range(3)]
        assert [stream.text() for stream in streams] == [ours.text] * 3
        assert streams[0].usage.prompt_tokens == len(read)
        assert streams[0].usage.completion_tokens == ours.num_tokens
        sampled = [
            engine.submit(Request(prompt=text, max_tokens=10, temperature=2.0, seed=n % 2)).text() for n in range(4)
        ]
        assert sampled[:2] == sampled[2:]
        assert sampled[0] != sampled[1]
        # what is read has the whole context for itself
        assert engine.submit(Request(tokens=[150] * 64, max_tokens=2)).text() is not None
        with pytest.raises(ContextError, match="The prompt has 65 tokens"):
            engine.submit(Request(tokens=[150] * 65))
        assert engine.submit(Request(tokens=[150] * 65, truncate=True)).prompt_tokens == 64
        with pytest.raises(EngineError, match="it holds no conversation"):
            engine.submit(Request(messages=[{"role": "user", "content": text}]))
        with pytest.raises(EngineError, match="cannot score; it can generate"):
            engine.score([("a", "b")])
