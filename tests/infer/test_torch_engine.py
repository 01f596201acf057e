"""The engine writes what transformers' generate writes: alone, in company, in batches; and it cancels, refuses and scores."""

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
import torch
from tests.train.adapter_models import shake
from tiny_chat import save_model, tiny_module, tiny_tokenizer

from septet.infer.engine import Backend, ContextError, EngineBusy, EngineError, Request, open_engine
from septet.infer.engines.torch import TorchEngine
from septet.infer.tasks.chat import Chat
from septet.train.adapters.lora import Lora

PROMPTS = [[0, 9, 20, 33], [0, 100], [0, 50, 51, 52, 53, 54, 55, 56, 57], [0, 200, 9], [0, 7, 7, 7, 7, 8]]


@pytest.fixture(scope="module", params=["llama", "gpt2"])
def module(request):
    return tiny_module(family=request.param)


@pytest.fixture
def engine(module):
    with TorchEngine(module, tiny_tokenizer(), name="tiny", max_active=3) as found:
        yield found


def reference(module, prompt, count):
    """Greedy tokens by transformers' generate, and their text."""
    ids = torch.tensor([prompt])
    out = module.generate(
        ids,
        attention_mask=torch.ones_like(ids),
        max_new_tokens=count,
        do_sample=False,
        pad_token_id=1,
        eos_token_id=[0, 5],
    )[0, len(prompt) :].tolist()
    ended = bool(out) and out[-1] in (0, 5)
    return (
        tiny_tokenizer().decode(out, skip_special_tokens=True).rstrip("\ufffd"),
        len(out),
        "stop" if ended else "length",
    )


def test_greedy_equals_transformers_generate(module, engine):
    for prompt in PROMPTS:
        text, count, reason = reference(module, prompt, 40)
        stream = engine.submit(Request(tokens=prompt, max_tokens=40))
        assert stream.text().rstrip("\ufffd") == text
        assert (stream.usage.prompt_tokens, stream.usage.completion_tokens) == (len(prompt), count)
        assert stream.finish_reason == reason


def test_batches_equal_transformers_generate(module, engine):
    requests = [Request(tokens=prompt, max_tokens=10 + 7 * n) for n, prompt in enumerate(PROMPTS)]
    answers = engine.generate_batch(requests, batch_size=3)
    for request, answer in zip(requests, answers, strict=True):
        text, count, reason = reference(module, request.tokens, request.max_tokens)
        assert (answer.text.rstrip("\ufffd"), answer.completion_tokens, answer.finish_reason) == (text, count, reason)
    assert engine.generate_batch(requests, batch_size=3) == answers


def test_company_does_not_change_the_words(module, engine):
    requests = [Request(tokens=p, max_tokens=25, temperature=0.9, top_p=0.9, seed=n) for n, p in enumerate(PROMPTS)]
    alone = [engine.submit(request).text() for request in requests]
    with ThreadPoolExecutor(5) as pool:
        together = list(pool.map(lambda request: engine.submit(request).text(), requests))
    assert together == alone
    assert len(set(alone)) == len(alone)


def test_a_short_answer_does_not_wait_for_a_long_one(engine):
    long = engine.submit(Request(tokens=[0, 9], max_tokens=120, temperature=2.0, seed=1))
    short = engine.submit(Request(tokens=[0, 9], max_tokens=2))
    short.text()
    assert long.finish_reason is None or long.completion_tokens < 120
    long.cancel()


def test_cancel_frees_the_engine(engine):
    stream = engine.submit(Request(tokens=[0, 9], max_tokens=120, temperature=2.0, seed=3))
    stream.cancel()
    stream.text()
    assert stream.finish_reason in ("cancelled", "stop")
    assert stream.completion_tokens < 120
    assert engine.submit(Request(tokens=[0, 9], max_tokens=3)).text() is not None


def test_a_deadline_in_the_past_ends_at_once(engine):
    stream = engine.submit(Request(tokens=[0, 9], max_tokens=120, timeout=1e-9))
    assert stream.text() == ""
    assert stream.finish_reason == "deadline"


def test_prompts_beyond_the_context(module, engine):
    prompt = [0, *range(6, 206)]
    with pytest.raises(ContextError, match=r"201 tokens.*context is 128.*truncate"):
        engine.submit(Request(tokens=prompt))
    stream = engine.submit(Request(tokens=prompt, max_tokens=20, truncate=True))
    assert stream.text().rstrip("\ufffd") == reference(module, prompt[-108:], 20)[0]
    assert (stream.truncated, stream.usage.prompt_tokens) == (93, 108)
    full = engine.submit(Request(tokens=prompt[:120], max_tokens=500, temperature=3.0, seed=0))
    full.text()
    assert full.usage.total_tokens <= 128
    with pytest.raises(EngineError, match="vocabulary of 384"):
        engine.submit(Request(tokens=[0, 384]))


def test_a_full_queue_refuses_and_closing_tells_those_who_wait(module):
    entered, gate = threading.Event(), threading.Event()

    def hold(*_):
        entered.set()
        gate.wait(10)

    engine = TorchEngine(module, tiny_tokenizer(), max_active=1, max_waiting=2)
    hook = module.register_forward_pre_hook(hold)
    try:
        running = engine.submit(Request(tokens=[0, 9], max_tokens=100, temperature=2.0, seed=0))
        assert entered.wait(10)
        waiting = [engine.submit(Request(tokens=[0, 9])) for _ in range(2)]
        with pytest.raises(EngineBusy, match="2 requests are waiting"):
            engine.submit(Request(tokens=[0, 9]))
        closer = threading.Thread(target=engine.close)
        closer.start()
        gate.set()
        closer.join(10)
    finally:
        hook.remove()
    assert not closer.is_alive()
    for stream in [running, *waiting]:
        with pytest.raises(EngineError, match="closed"):
            stream.text()
    with pytest.raises(EngineError, match="closed"):
        engine.submit(Request(tokens=[0, 9]))


def test_an_error_of_the_model_reaches_its_stream_and_no_other(module, engine):
    def break_on_ten(_, args, kwargs):
        if kwargs["input_ids"].shape[1] == 9:
            raise RuntimeError("out of memory, say")

    hook = module.register_forward_pre_hook(break_on_ten, with_kwargs=True)
    try:
        good, bad = engine.submit(Request(tokens=PROMPTS[0], max_tokens=5)), engine.submit(Request(tokens=PROMPTS[2]))
        with pytest.raises(EngineError, match=r"RuntimeError: out of memory") as caught:
            bad.text()
        assert isinstance(caught.value.__cause__, RuntimeError)
        good.text()
        assert good.finish_reason is not None
    finally:
        hook.remove()
    assert engine.submit(Request(tokens=PROMPTS[2], max_tokens=2)).text() is not None


def test_scores_by_a_second_way(module, engine):
    tokenizer = tiny_tokenizer()
    pairs = [
        ("What colour is the apple?", " The apple is red."),
        ([0, 9, 10], " blue"),
        ([{"role": "user", "content": "Hi"}], "naïve 😀"),
        ("", "Return"),
    ]
    for end in (False, True):
        for scored, (context, said) in zip(engine.score(pairs, end=end), pairs, strict=True):
            if isinstance(context, str):
                before = [0, *tokenizer.encode(context)]
            else:
                before = context if isinstance(context[0], int) else engine.chat.prompt(context)
            after = tokenizer.encode(said) + ([5] if end else [])
            logits = module(torch.tensor([before + after])).logits[0].detach().double()
            wanted = sum(float(logits[len(before) - 1 + n].log_softmax(-1)[token]) for n, token in enumerate(after))
            assert scored.logprob == pytest.approx(wanted, abs=1e-4)
            assert (scored.num_tokens, scored.greedy) == (len(after), False)


def test_greedy_flag_and_length_of_scores(module, engine):
    prompt = PROMPTS[0]
    said = engine.submit(Request(tokens=prompt, max_tokens=1)).text()
    assert engine.score([(prompt, said)])[0].greedy
    with pytest.raises(ContextError, match="truncate=True"):
        engine.score([([0] * 200, "x")])
    assert engine.score([([0] * 200, "x")], truncate=True)[0].num_tokens == 1
    with pytest.raises(EngineError, match="'pseudo'"):
        engine.score([("a", "b")], kind="pseudo")


def test_opened_from_a_folder_it_chats(tmp_path):
    with open_engine(save_model(tmp_path / "tiny"), device="cpu") as engine:
        stream = engine.submit(Request(messages=[{"role": "user", "content": "Hi"}], max_tokens=5))
        assert stream.text() is not None
        assert stream.usage.prompt_tokens > 4


def test_the_number_of_threads_is_given_back(module):
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        with TorchEngine(module, tiny_tokenizer()) as engine:
            engine.submit(Request(tokens=[0, 9], max_tokens=4)).text()
        seen = []
        thread = threading.Thread(target=lambda: seen.append(torch.get_num_threads()))
        thread.start()
        thread.join()
        assert (torch.get_num_threads(), seen) == (2, [2])
    finally:
        torch.set_num_threads(before)


@pytest.fixture(scope="module")
def tuned(tmp_path_factory):
    """A base's folder, and two adapters of it with the merged model of each."""
    folder = tmp_path_factory.mktemp("tuned")
    save_model(folder / "base")
    merged = {}
    for number, name in enumerate(("legal.v1", "friendly")):
        lora = Lora(rank=2 + 2 * number)
        model = shake(lora.attach(Chat().open(folder / "base", device="cpu"), seed=number), 0.2 + number / 10)
        lora.save(model, folder / name)
        merged[name] = lora.merge(model)
    return folder, merged


def test_each_request_may_have_another_adapter(tuned):
    folder, merged = tuned
    folders = {name: folder / name for name in merged}
    wanted = {}
    for name, model in {None: Chat().open(folder / "base", device="cpu"), **merged}.items():
        with TorchEngine(model.module, model.tokenizer) as engine:
            wanted[name] = [engine.submit(Request(tokens=prompt, max_tokens=20)).text() for prompt in PROMPTS]
    assert wanted[None] != wanted["friendly"] != wanted["legal.v1"]
    cases = [(name, number) for number in range(len(PROMPTS)) for name in wanted]
    requests = [Request(tokens=PROMPTS[number], max_tokens=20, adapter=name) for name, number in cases]
    told = [wanted[name][number] for name, number in cases]
    with Backend.parse({"kind": "torch", "max_active": 3}).open(
        folder / "base", device="cpu", adapters=folders
    ) as engine:
        assert [stream.text() for stream in [engine.submit(request) for request in requests]] == told
        assert [answer.text for answer in engine.generate_batch(requests)] == told
        scored = engine.score([([0, 9], "a")])
        with pytest.raises(EngineError, match=r"no adapter 'legl'; there are: legal.v1, friendly"):
            engine.submit(Request(tokens=[0, 9], adapter="legl"))
    with TorchEngine(Chat().open(folder / "base", device="cpu").module, tiny_tokenizer()) as plain:
        assert plain.score([([0, 9], "a")])[0].logprob == pytest.approx(scored[0].logprob, abs=1e-6)
        with pytest.raises(EngineError, match="no adapter 'friendly'; it has none"):
            plain.submit(Request(tokens=[0, 9], adapter="friendly"))
