"""Fine-tuning learns what peft and transformers' Trainer learn from the same batches: the same losses, the same weights.

Ours lays conversations beside each other in a row and never makes all logits; the Trainer pads each to the longest and lets the
model make its loss. Optimizer and schedule are the same numbers, and LoRA begins with the same matrices.
"""

import copy
import json

import numpy as np
import pytest
import torch
from peft import LoraConfig, get_peft_model
from safetensors.torch import load_file
from tiny_chat import artifact, chat_rows, save_model, work_at, write_rows
from transformers import AutoModelForCausalLM, Trainer, TrainerCallback, TrainingArguments

from septet.data.batches import Batches
from septet.infer.tasks.chat import Chat
from septet.steps.finetune import Finetune
from septet.train.adapters.lora import Lora
from septet.train.schedules.cosine import Cosine

ROWS, BATCH, STEPS, RATE = 40, 8, 5, 1e-2


@pytest.fixture(scope="module")
def inputs(tmp_path_factory):
    folder = tmp_path_factory.mktemp("inputs")
    write_rows(folder / "rows" / "train.jsonl", chat_rows(ROWS))
    return {"model": artifact(save_model(folder / "base"), "model"), "data": artifact(folder / "rows", "dataset")}


def batch(samples):
    """Pad as everybody does: labels stand at the token itself, and the mask says what is text."""
    length = max(len(sample.ids) for sample in samples) + 1
    found = {"input_ids": np.ones((len(samples), length)), "labels": np.full((len(samples), length), -100)}
    found["attention_mask"] = np.zeros((len(samples), length))
    for place, sample in enumerate(samples):
        size = len(sample.ids)
        found["input_ids"][place, :size] = sample.ids
        # the last token is only a label in a sample, and a token here
        found["input_ids"][place, size] = sample.labels[-1]
        found["labels"][place, 1 : size + 1] = sample.labels
        found["attention_mask"][place, : size + 1] = 1
    return {name: torch.from_numpy(values.astype(np.int64)) for name, values in found.items()}


class Losses(TrainerCallback):
    def __init__(self):
        self.found = []

    def on_log(self, args, state, control, logs=None, **kwargs):
        if logs and "loss" in logs:
            self.found.append(logs["loss"])


class InOrder(Trainer):
    def _get_train_sampler(self, *args, **kwargs):
        return torch.utils.data.SequentialSampler(self.train_dataset)


def teach(module, samples, folder):
    """Teach with the Trainer; return the losses of the steps."""
    batches = Batches(samples, BATCH, seed=0)
    rows = [sample for _ in range(STEPS) for sample in batches.next()]
    optimizer = torch.optim.AdamW(
        [p for p in module.parameters() if p.requires_grad], lr=RATE, betas=(0.9, 0.95), eps=1e-8, weight_decay=0.0
    )
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: Cosine(warmup=1).share(step, STEPS))
    arguments = TrainingArguments(
        output_dir=str(folder), max_steps=STEPS, per_device_train_batch_size=BATCH, max_grad_norm=1.0, logging_steps=1,
        save_strategy="no", report_to="none", disable_tqdm=True, remove_unused_columns=False, use_cpu=True, bf16=False,
    )  # fmt: skip
    losses = Losses()
    InOrder(
        model=module, args=arguments, train_dataset=rows, data_collator=batch, callbacks=[losses],
        optimizers=(optimizer, schedule),
    ).train()  # fmt: skip
    return losses.found


@pytest.mark.parametrize("adapter", ["full", "lora"])
def test_peft_and_the_trainer_learn_the_same(inputs, adapter, tmp_path, monkeypatch):
    # the arithmetic is compared, not the type that a processor is quick in
    monkeypatch.setattr("septet.train.runtime.bfloat16_is_native", lambda device: False)
    work = work_at(tmp_path)
    facts = Finetune(
        model="$base", data="$rows", adapter=adapter, batch_size=BATCH, learning_rate=RATE, epochs=STEPS * BATCH / ROWS
    ).run(work, **inputs)
    assert facts["steps"] == STEPS
    curve = [json.loads(line)["loss"] for line in (work.out / "curve.jsonl").read_text().splitlines()]

    model = Chat().open(inputs["model"].path, device="cpu")
    rows = list(enumerate(chat_rows(ROWS)))
    samples, _ = Chat().encode(rows, model, max_tokens=128)
    module = model.module
    if adapter == "lora":
        first = Lora().attach(Chat().open(inputs["model"].path, device="cpu"), seed=0).module.state_dict()
        config = LoraConfig(r=16, lora_alpha=32, target_modules="all-linear", task_type="CAUSAL_LM")
        module = get_peft_model(copy.deepcopy(model.module), config)
        missing = module.load_state_dict({name: first[name] for name in first if "lora_" in name}, strict=False)
        assert not missing.unexpected_keys
    before = copy.deepcopy(module.state_dict())
    losses = teach(module, samples, tmp_path / "trainer")
    assert losses == pytest.approx(curve, abs=2e-4)
    assert curve[-1] < curve[0] - 0.1, "it learns, so that there is something to compare"

    if adapter == "lora":
        theirs = {n.replace(".default", ""): p for n, p in module.state_dict().items() if "lora_" in n}
        ours = load_file(work.out / "adapter" / "adapter_model.safetensors")
        started = {n.replace(".default", ""): p for n, p in before.items() if "lora_" in n}
    else:
        theirs, started = module.state_dict(), before
        ours = AutoModelForCausalLM.from_pretrained(work.out).state_dict()
    assert set(ours) == set(theirs)
    for name, weight in theirs.items():
        moved = (weight - started[name]).norm()
        assert (ours[name] - weight).norm() <= 1e-3 * moved + 1e-7, name
