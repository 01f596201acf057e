"""Count slowly, with a checkpoint after each number."""

import random
from typing import ClassVar

from pydantic import Field

from septet.core.artifact import write_json
from septet.core.component import CorpusRef
from septet.core.step import Step


class ToyCount(Step):
    """Draw `to` random numbers, one by one; resumable at each, and bit for bit the same."""

    produces: ClassVar[str] = "report"
    corpus: CorpusRef
    to: int = Field(3, ge=1)
    seed: int = 0
    work_per_number: int = 0

    def run(self, work, corpus, **inputs):
        import json

        state = work.state / "numbers.json"
        numbers = json.loads(state.read_text()) if state.exists() else []
        while len(numbers) < self.to:
            numbers.append(random.Random(f"{self.seed} {len(numbers)}").random())
            sum(range(self.work_per_number))
            write_json(state, numbers)
            work.progress(len(numbers), self.to, "numbers", mean=sum(numbers) / len(numbers))
        text = (corpus.path / "text.txt").read_text()
        write_json(work.out / "numbers.json", {"numbers": numbers, "text": text})
        return {"numbers": len(numbers)}
