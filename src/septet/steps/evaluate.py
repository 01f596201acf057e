"""Evaluate a model: every figure with its number of samples and an interval, beside honest baselines.

Tasks whose inputs are not given are left out, and the log says so:

    held-out-text   corpus              bits per byte and perplexities beside xz and a byte 5-gram, on the same bytes
    answers         data                chrF and exact match of generated answers (conversations)
    predictions     data                accuracy, F1 and the like for test rows (all other tasks), beside the commonest label
    matching        data                recall@k and reciprocal rank of vectors of pairs of texts (similarity), beside BM25
    preferences     pairs               accuracy by kind of pair, beside the model before alignment
    retrieval       index, questions    recall@k, reciprocal rank, first citation, AUROC of refusing

The artifact: `report.json` (a list of figures) and `samples.jsonl` (every answer, with its scores). A finished task is not done
again after a kill.

What it is not: a gate. It measures and compares; what is good enough is decided by people, or by a step that promotes models.

    septet evaluate --model ask-python/liked --corpus ask-python/text
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, ClassVar, Self

from pydantic import Field, model_validator

from septet.core.artifact import Artifact, Fact, write_json
from septet.core.component import CorpusRef, DatasetRef, IndexRef, InputPath, ModelRef, PairsRef
from septet.core.step import Step, Work
from septet.evals.judged import Judged
from septet.evals.reader import ModelReader
from septet.evals.scorer import Scorer
from septet.evals.scorers.accuracy import Accuracy
from septet.evals.scorers.bits_per_byte import BitsPerByte
from septet.evals.scorers.bleu import Bleu
from septet.evals.scorers.calibration import Calibration
from septet.evals.scorers.chrf import Chrf
from septet.evals.scorers.entity_f1 import EntityF1
from septet.evals.scorers.exact_match import ExactMatch
from septet.evals.scorers.f1 import F1
from septet.evals.scorers.matthews_corrcoef import MatthewsCorrcoef
from septet.evals.scorers.perplexity import Perplexity
from septet.evals.scorers.preference_accuracy import PreferenceAccuracy
from septet.evals.scorers.regression import Regression
from septet.evals.scorers.roc_auc import RocAuc
from septet.evals.scorers.rouge import Rouge
from septet.evals.scorers.squad import Squad
from septet.evals.task import Bench, Task
from septet.evals.tasks.answers import Answers
from septet.evals.tasks.held_out_text import HeldOutText
from septet.evals.tasks.matching import Matching
from septet.evals.tasks.predictions import Predictions
from septet.evals.tasks.preferences import Preferences
from septet.evals.tasks.retrieval import Retrieval

__all__ = ["Evaluate"]

MODELS = ("model", "before", "base")


class Evaluate(Step):
    """Measure a model with intervals and baselines."""

    produces: ClassVar[str] = "report"
    version: ClassVar[int] = 2  # more scorers by default

    model: ModelRef
    """The model to evaluate."""
    before: ModelRef | None = None
    """The model before alignment (the fine-tuned one), for paired comparisons."""
    base: ModelRef | None = None
    """The pre-trained model: it reads the held-out text as well."""
    corpus: CorpusRef | None = None
    """Training and held-out documents."""
    data: DatasetRef | None = None
    """Held-out questions with reference answers."""
    pairs: PairsRef | None = None
    """Held-out preference pairs."""
    index: IndexRef | None = None
    """The index that the application searches."""
    questions: InputPath | None = None
    """A file of questions with the names that answer them, for the index."""
    tasks: tuple[Task, ...] = Field(
        default_factory=lambda: (HeldOutText(), Answers(), Predictions(), Matching(), Preferences(), Retrieval()),
        min_length=1,
    )
    """What to measure; those whose inputs are missing are left out."""
    scorers: tuple[Scorer, ...] = Field(
        default_factory=lambda: (
            *(BitsPerByte(), Perplexity(), Chrf(), ExactMatch(), PreferenceAccuracy()),
            *(Accuracy(), F1(), MatthewsCorrcoef(), RocAuc(), Calibration(), Regression(), EntityF1(), Squad()),
            *(Bleu(), Rouge()),
        ),
        min_length=1,
    )
    """Metrics; each is given to every task that makes what it reads."""
    seed: int = 0
    """Draws the samples and the bootstrap."""

    @model_validator(mode="after")
    def _something_to_do(self) -> Self:
        if not any(self._lacks(task) == [] for task in self.tasks):
            wanted = "; ".join(f"{task.kind}: {', '.join(task.needs)}" for task in self.tasks)
            raise ValueError(f"none of the tasks has the inputs that it needs. Give some of them: {wanted}.")
        return self

    def _lacks(self, task: Task) -> list[str]:
        return [name for name in task.needs if getattr(self, name, None) is None]

    def run(self, work: Work, **inputs: Artifact) -> dict[str, Fact]:
        todo = []
        for task in self.tasks:
            lacks = self._lacks(task)
            if lacks:
                work.log(f"{task.kind} is left out: no {' and no '.join(lacks)} given.")
            elif why := task.unsuited({name: artifact.path for name, artifact in inputs.items()}):
                work.log(f"{task.kind} is left out: {why}.")
            else:
                todo.append(task)
        runtime = work.runtime
        readers = {
            name: ModelReader(inputs[name].path, device=runtime.device, threads=runtime.threads)
            for name in MODELS
            if name in inputs
        }
        figures: list[dict[str, Any]] = []
        samples: list[dict[str, Any]] = []
        seconds: dict[str, float] = {}
        for place, task in enumerate(todo):
            kept = work.state / f"{place}-{task.kind}.json"
            if not kept.exists():
                tell = _teller(work, place, len(todo))
                bench = Bench(
                    readers=readers,
                    inputs={name: artifact.path for name, artifact in inputs.items()},
                    scorers=self.scorers,
                    seed=self.seed,
                    judge=self._judge(work, inputs, tell),
                    tell=tell,
                )
                started = time.perf_counter()
                found = task.run(bench).to_json()
                write_json(kept, {**found, "seconds": round(time.perf_counter() - started, 2)})
            content = json.loads(kept.read_text(encoding="utf-8"))
            figures += content["figures"]
            samples += content["samples"]
            seconds[task.kind] = content["seconds"]
            work.progress(place + 1, len(todo), "tasks")
        write_json(work.out / "report.json", figures)
        with (work.out / "samples.jsonl").open("w", encoding="utf-8") as file:
            file.writelines(json.dumps(row, ensure_ascii=False) + "\n" for row in samples)
        return {
            "figures": len(figures),
            "samples": len(samples),
            "seconds_by_task": seconds,
            **{f"{f['metric']} of {f['of']}": f["value"] for f in figures if f["metric"] in HEADLINES},
        }

    def _judge(
        self, work: Work, inputs: dict[str, Artifact], tell: Callable[[int, int], None]
    ) -> Callable[[], Sequence[Judged]] | None:
        if self.questions is None or "index" not in inputs:
            return None
        questions, index = Path(self.questions), inputs["index"].path
        return lambda: _ask(index, questions, threads=work.runtime.threads, tell=tell)


HEADLINES = frozenset(
    {
        *("bits_per_byte", "chrf", "preference_accuracy", "first_citation_accuracy", "auroc_of_refusing", "accuracy"),
        *("f1_macro", "entity_f1", "f1", "exact_match", "bleu", "rougeL", "spearman"),
    }
)


def _teller(work: Work, place: int, count: int) -> Callable[[int, int], None]:
    def tell(done: int, total: int) -> None:
        # a task that has just ended is kept on disk before the next safe point, so its last word is left to the step
        if done < total:
            work.progress(round(place + done / total, 3), count, "tasks")

    return tell


def _ask(index: Path, questions: Path, *, threads: int | None, tell: Callable[[int, int], None]) -> list[Judged]:
    """Ask an index the test half of a question file, quoting only: the model's words do not change what is cited."""
    from septet.retrieval.answer import Answerer  # with an encoder, this side imports torch
    from septet.retrieval.index import SearchIndex
    from septet.retrieval.judge import judge, read_questions

    asked = [question for question in read_questions(questions) if question.half == "test"]
    with SearchIndex(index, threads=threads) as opened:
        verdicts = judge(asked, Answerer(opened), progress=tell)
    return [
        Judged(
            question=verdict.question,
            gold=verdict.gold,
            ranks=verdict.ranks,
            confidence=verdict.confidence,
            refused=verdict.refused,
            cited=verdict.cited,
            correct=verdict.correct,
            half=verdict.half,
        )
        for verdict in verdicts
    ]
