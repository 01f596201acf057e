"""Count together, with a checkpoint after each number; a rank can be made to fail or to die at one."""

import json
import os
import signal
from typing import ClassVar, Literal

from pydantic import Field

from septet.core.artifact import write_json
from septet.core.component import CorpusRef
from septet.core.errors import DataError
from septet.core.step import Step


class ToyRing(Step):
    """Sum a number of each rank, again and again."""

    produces: ClassVar[str] = "report"
    parallel: ClassVar[bool] = True
    corpus: CorpusRef
    to: int = Field(3, ge=1)
    work_per_number: int = 0
    at: int = -1
    how: Literal["nothing", "dies", "fails", "bug"] = "nothing"
    rank: int = 1
    times: int = 1

    def run(self, work, corpus, **inputs):
        ranks = work.runtime.ranks
        state, spent = work.state / "numbers.json", work.state / "failures"
        numbers = json.loads(state.read_text()) if state.exists() else []
        while len(numbers) < self.to:
            if len(numbers) == self.at and ranks.rank == self.rank:
                done = len(spent.read_text()) if spent.exists() else 0
                if done < self.times and self.how != "nothing":
                    spent.write_text("x" * (done + 1))
                    if self.how == "dies":
                        os.kill(os.getpid(), signal.SIGKILL)
                    raise DataError("the row is bad") if self.how == "fails" else RuntimeError("our own mistake")
            sum(range(self.work_per_number))
            numbers.append(ranks.sum({"n": float(ranks.rank + 1)})["n"])
            if ranks.is_first:
                write_json(state, numbers)
            work.progress(len(numbers), self.to, "numbers", last=numbers[-1])
        if ranks.is_first:
            write_json(work.out / "numbers.json", {"numbers": numbers, "text": (corpus.path / "text.txt").read_text()})
        return {"ranks": ranks.size, "numbers": len(numbers), "processes": os.getpid(), "threads": work.runtime.threads}
