"""Direct preference optimisation: a number by hand, a second implementation, the first loss, gradients."""

import math

import pytest
import torch
from tiny_chat import pair_rows, tiny_model, tiny_tokenizer

from septet.core.errors import DataError
from septet.data.packing import IGNORE
from septet.train.adapters.lora import Lora
from septet.train.objectives.dpo import Dpo
from septet.train.preference import Compared, logps, prepare_pairs


def prepare(rows, **options):
    return prepare_pairs(
        list(enumerate(rows, 1)), tiny_tokenizer(), **{"max_tokens": 128, "file": "rows.jsonl", **options}
    )


def adapted(shaken=False):
    model = Lora(rank=4).attach(tiny_model(), seed=0)
    if shaken:
        generator = torch.Generator().manual_seed(1)
        with torch.no_grad():
            for parameter in model.trainable().values():
                parameter.add_(0.05 * torch.randn(parameter.shape, generator=generator))
    return model


def test_a_number_worked_by_hand(monkeypatch):
    # log-ratios: preferred -10 - -12 = 2, other -9 - -8 = -1; beta 0.1: margin 0.3; -log sigmoid(0.3) = 0.554355
    compared = Compared(*(torch.tensor([value]) for value in (-10.0, -9.0, -12.0, -8.0)))
    objective = Dpo(beta=0.1)
    chosen, rejected = objective.rewards(compared)
    assert (chosen.item(), rejected.item()) == (pytest.approx(0.2), pytest.approx(-0.1))
    pairs, _ = prepare(pair_rows(1))
    batch = objective.prepare(pairs, tiny_tokenizer(), [])
    monkeypatch.setattr(Dpo, "compare", lambda *_: compared)
    terms = objective.loss(batch, None, {})
    assert terms["dpo"].sum.item() == pytest.approx(0.5543552, abs=1e-6)
    assert (terms["accuracy"].sum.item(), terms["margin"].sum.item()) == (1.0, pytest.approx(0.3))


def reference_dpo(model, rows, beta):
    """Equation 7 written again, one unpacked row at a time, over transformers' logits in double precision."""
    from septet.infer.chat import Chat

    chat = Chat(model.tokenizer)

    def logp(row, answer):
        prompt, said = chat.prompt(row["prompt"]), chat.answer(answer)
        logits = model.base(torch.tensor([prompt + said])).logits[0].double()
        logps = logits[len(prompt) - 1 : -1].log_softmax(-1)
        return logps[torch.arange(len(said)), torch.tensor(said)].sum()

    losses = []
    for row in rows:
        ratios = []
        for answer in (row["chosen"], row["rejected"]):
            policy = logp(row, answer)
            with torch.no_grad(), model.without_adapter():
                reference = logp(row, answer)
            ratios.append(policy - reference)
        losses.append(-torch.log(1 / (1 + torch.exp(-beta * (ratios[0] - ratios[1])))))
    return torch.stack(losses)


def test_a_second_implementation_agrees_loss_and_gradient():
    rows = pair_rows(5)
    model = adapted(shaken=True)
    pairs, _ = prepare(rows)
    objective = Dpo(beta=0.3)
    batch = objective.prepare(pairs, model.tokenizer, [])
    assert batch.inputs["input_ids"].shape[0] < 10, "sequences are packed"
    term = objective.loss(batch, model, {})["dpo"]
    term.sum.backward()
    ours = {name: p.grad.clone() for name, p in model.trainable().items()}
    model.module.zero_grad()
    wanted = reference_dpo(model, rows, 0.3)
    assert term.weight == 5
    assert term.sum.item() == pytest.approx(wanted.sum().item(), rel=1e-5)
    wanted.sum().backward()
    for name, parameter in model.trainable().items():
        torch.testing.assert_close(ours[name], parameter.grad, rtol=1e-3, atol=1e-5)


def test_the_first_loss_is_ln_2():
    model = adapted()
    pairs, _ = prepare(pair_rows(6))
    objective = Dpo()
    model.module.train()
    terms = objective.loss(objective.prepare(pairs, model.tokenizer, []), model, {})
    assert terms["dpo"].sum.item() / 6 == pytest.approx(math.log(2), abs=1e-7)
    assert terms["margin"].sum.item() == 0.0
    terms["dpo"].sum.backward()
    gradients = {n: p.grad for n, p in model.module.named_parameters() if p.grad is not None}
    assert set(gradients) == set(model.trainable())
    assert all(g.abs().max() > 0 for n, g in gradients.items() if "lora_B" in n)


def test_reference_figures_computed_beforehand_give_the_same_loss():
    from dataclasses import replace

    pairs, _ = prepare(pair_rows(4))
    objective = Dpo()
    base = tiny_model()
    values = logps(objective.prepare(pairs, base.tokenizer, []), base).tolist()
    known = [replace(pair, reference=(values[n], values[4 + n])) for n, pair in enumerate(pairs)]
    model = adapted(shaken=True)
    live = objective.loss(objective.prepare(pairs, model.tokenizer, []), model, {})["dpo"]
    stored = objective.loss(objective.prepare(known, model.tokenizer, []), model, {})["dpo"]
    assert live.sum.item() == pytest.approx(stored.sum.item(), rel=1e-5)


def test_splitting_a_batch_changes_nothing():
    model = adapted(shaken=True)
    pairs, _ = prepare(pair_rows(5))
    objective = Dpo()
    whole = objective.loss(objective.prepare(pairs, model.tokenizer, []), model, {})
    parts = [objective.loss(objective.prepare([pair], model.tokenizer, []), model, {}) for pair in pairs]
    for name in ("dpo", "accuracy", "margin"):
        assert whole[name].sum.item() == pytest.approx(sum(part[name].sum.item() for part in parts), rel=1e-4)


def test_labels_are_the_answers_with_their_ends():
    pairs, report = prepare(pair_rows(1))
    tokenizer = tiny_tokenizer()
    said = [tokenizer.decode(s.labels[s.labels != IGNORE].tolist()) for s in (pairs[0].chosen, pairs[0].rejected)]
    assert said == [pair_rows(1)[0]["chosen"] + "<|end|>", pair_rows(1)[0]["rejected"] + "<|end|>"]
    assert (report.pairs, report.cut) == (1, 0)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"rejected": pair_rows(1)[0]["chosen"]}, "no preference to learn"),
        ({"chosen": None}, '"chosen" must be a text'),
        ({"prompt": "Hi"}, '"prompt" must be a list'),
        ({"prompt": [{"role": "user", "content": "long " * 200}]}, "leaves no room"),
    ],
)
def test_what_is_no_pair_is_an_error(change, message):
    with pytest.raises(DataError, match=f"rows.jsonl, row 1: .*{message}"):
        prepare([{**pair_rows(1)[0], **change}])
