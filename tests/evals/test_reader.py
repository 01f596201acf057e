"""Reading texts: windows count every token once, and costs equal transformers' own.

python -m pytest tests/evals/test_reader.py
"""

from __future__ import annotations

import json

import pytest

from septet.core.errors import DataError
from septet.evals.reader import ModelReader, Window, windows


def test_windows_by_hand() -> None:
    # ten positions, context 4, stride 2: [0,4) counts 0-3, [2,6) counts 4-5, [4,8) counts 6-7, [6,10) counts 8-9
    found = windows([10, 3], context=4, stride=2)
    assert found == [
        Window(0, 0, 4, 0),
        Window(0, 2, 6, 4),
        Window(0, 4, 8, 6),
        Window(0, 6, 10, 8),
        Window(1, 0, 3, 0),
    ]


@pytest.mark.parametrize("length", [1, 3, 4, 5, 8, 9, 23])
@pytest.mark.parametrize(("context", "stride"), [(4, 4), (4, 2), (4, 3), (4, 1), (100, 50)])
def test_every_position_is_counted_once_with_enough_before_it(length: int, context: int, stride: int) -> None:
    found = windows([length], context=context, stride=stride)
    counted = [place for w in found for place in range(w.first, w.end)]
    assert counted == list(range(length))
    for w in found:
        assert w.start <= w.first < w.end <= w.start + context
        assert w.start == 0 or w.first - w.start >= context - stride


def test_stride_beyond_the_context_is_refused() -> None:
    with pytest.raises(ValueError, match="1 to the context's 4"):
        windows([3], context=4, stride=5)


def _by_transformers(folder, text: str) -> float:
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(folder)
    model = AutoModelForCausalLM.from_pretrained(folder).eval()
    ids = torch.tensor([[0, *tokenizer(text, add_special_tokens=False).input_ids, 0]])
    with torch.no_grad():
        return float(model(ids, labels=ids).loss) * (ids.shape[1] - 1)


def test_costs_equal_transformers_own(tiny_model, monkeypatch) -> None:
    texts = ["Join two path components.", "x", "naïve café", "Split a path into head and tail."]
    reader = ModelReader(tiny_model, device="cpu")
    monkeypatch.setattr(ModelReader, "precision", "float32")
    found = reader.read(texts)
    for text, reading in zip(texts, found, strict=True):
        assert reading.nll == pytest.approx(_by_transformers(tiny_model, text), rel=1e-4)
    # the order of the texts, hence their batches, hardly matters
    turned = reader.read(texts[::-1])[::-1]
    assert [r.nll for r in turned] == pytest.approx([r.nll for r in found], rel=1e-4)
    assert [r.num_tokens for r in turned] == [r.num_tokens for r in found]


def test_a_long_text_is_read_in_windows(tiny_model) -> None:
    reader = ModelReader(tiny_model, device="cpu")
    text = "serialize path " * 60
    half, full = reader.read([text])[0], reader.read([text], stride=64)[0]
    assert half.num_tokens == full.num_tokens > 3 * 64
    assert half.nll != full.nll
    assert "windows of 64 tokens every 32" in reader.note(None)
    reader.close()


def test_answers_and_preferences(tiny_model) -> None:
    reader = ModelReader(tiny_model, device="cpu")
    prompts = [[{"role": "user", "content": "What does join do?"}], [{"role": "user", "content": "And split?"}]]
    told = []
    said = reader.answer(prompts, max_tokens=5, tell=lambda done, total: told.append((done, total)))
    assert said == reader.answer(prompts, max_tokens=5)
    assert told == [(2, 2)]
    scored = reader.prefer([(prompts[0], "It joins."), (prompts[0], "No.")])
    assert all(item.logprob < 0 for item in scored)
    reader.close()


def test_a_tokenizer_without_an_end_is_refused(tiny_model, tmp_path) -> None:
    import shutil

    folder = shutil.copytree(tiny_model, tmp_path / "m")
    path = folder / "tokenizer_config.json"
    config = json.loads(path.read_text())
    path.write_text(json.dumps({k: v for k, v in config.items() if k not in ("bos_token", "eos_token")}))
    with pytest.raises(DataError, match="end-of-text"):
        ModelReader(folder, device="cpu").read(["a"])
