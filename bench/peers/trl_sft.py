"""TRL's side of bench/finetune.py: SFTTrainer on the same model folder and the same conversations, with the options it is given.

It needs trl and datasets, which Septet does not; torch, transformers, accelerate and peft are those of this environment, so that
both sides compute with the same libraries. It imports nothing of ours.

    pip install --target FOLDER --no-deps trl datasets dill multiprocess
    PYTHONPATH=FOLDER python bench/peers/trl_sft.py SETTINGS_JSON

The settings: `model`, a folder; `rows`, a file of {"messages": [...]} lines; `out`, the folder for the trained model; `max_length`,
tokens of a row; `passes` over the rows; `rate`, of learning; `threads` of torch, or 0; `adapter`, "full" or what peft's LoraConfig
takes; `model_options` for from_pretrained; `options` for SFTConfig. The last line that is printed is RESULT and a JSON object.
"""

from __future__ import annotations

import contextlib
import json
import os
import sys
import time
from pathlib import Path
from typing import Any

os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("HF_DATASETS_DISABLE_PROGRESS_BARS", "1")

import peft
import torch
import transformers
import trl
from datasets import Dataset


class Watched(trl.SFTTrainer):
    """SFTTrainer that keeps what each forward pass holds: places, tokens of text, supervised tokens."""

    def training_step(self, model: Any, inputs: dict[str, Any], *args: Any, **kwargs: Any) -> torch.Tensor:
        places = inputs["input_ids"].numel()
        # what is packed is laid end to end, without padding and without a mask
        text = int(inputs["attention_mask"].sum()) if "attention_mask" in inputs else places
        self.seen[0] += places
        self.seen[1] += text
        self.seen[2] += int((inputs["labels"] != -100).sum())
        return super().training_step(model, inputs, *args, **kwargs)


class Marks(transformers.TrainerCallback):
    """Seconds, the processor's seconds and all that was seen, before the first step and after each."""

    def __init__(self, seen: list[int]) -> None:
        self.seen, self.marks = seen, []

    def mark(self, *args: Any, **kwargs: Any) -> None:
        self.marks.append([time.perf_counter(), time.process_time(), *self.seen])

    on_train_begin = on_step_end = mark  # type: ignore[assignment]


def peak_bytes() -> float:
    """Return the most memory that this process held; 0 where the system does not tell."""
    with contextlib.suppress(OSError), open("/proc/self/status", encoding="utf-8") as file:
        return 1024.0 * next(int(line.split()[1]) for line in file if line.startswith("VmHWM"))
    return 0.0


def main(settings: dict[str, Any]) -> None:
    if settings["threads"]:
        torch.set_num_threads(settings["threads"])
    rows = [json.loads(line)["messages"] for line in Path(settings["rows"]).read_text(encoding="utf-8").splitlines()]
    arguments = trl.SFTConfig(
        output_dir=settings["out"],
        max_length=settings["max_length"],
        learning_rate=settings["rate"],
        num_train_epochs=settings["passes"],
        lr_scheduler_type="cosine",
        warmup_steps=0.05,
        weight_decay=0.0,
        adam_beta1=0.9,
        adam_beta2=0.95,
        max_grad_norm=1.0,
        save_strategy="no",
        report_to="none",
        disable_tqdm=True,
        seed=0,
        use_cpu=not torch.cuda.is_available(),
        model_init_kwargs={"dtype": "float32", **settings["model_options"]},
        **settings["options"],
    )
    adapter = settings["adapter"]
    trainer = Watched(
        model=settings["model"],
        args=arguments,
        # the answer follows the prompt, and it alone is learned: what TRL does with these two columns
        train_dataset=Dataset.from_list([{"prompt": row[:-1], "completion": row[-1:]} for row in rows]),
        peft_config=None if adapter == "full" else peft.LoraConfig(task_type="CAUSAL_LM", **adapter),
    )
    trainer.seen = [0, 0, 0]
    marks = Marks(trainer.seen)
    trainer.add_callback(marks)
    trainer.train()
    peak = peak_bytes()
    model: Any = trainer.model if adapter == "full" else trainer.model.merge_and_unload()
    model.save_pretrained(settings["out"])
    trainer.processing_class.save_pretrained(settings["out"])
    optimizer = trainer.optimizer.optimizer if hasattr(trainer.optimizer, "optimizer") else trainer.optimizer
    told = {
        "marks": marks.marks,
        "peak_bytes": peak,
        "optimizer": f"{type(optimizer).__name__}{', fused' if optimizer.defaults.get('fused') else ''}",
        "dtype": str(next(trainer.model.parameters()).dtype),
        "versions": {name.__name__: name.__version__ for name in (trl, transformers, peft, torch)},
    }
    print("RESULT " + json.dumps(told))


if __name__ == "__main__":
    main(json.loads(sys.argv[1]))
