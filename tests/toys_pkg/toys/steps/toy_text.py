"""Write a text."""

from typing import ClassVar

from septet.core.component import InputPath
from septet.core.step import Step


class ToyText(Step):
    """Write a text and, if given, the bytes of a file."""

    produces: ClassVar[str] = "corpus"
    text: str = "one two three"
    file: InputPath | None = None

    def run(self, work, **inputs):
        (work.out / "text.txt").write_text(self.text)
        return {"characters": len(self.text)}
