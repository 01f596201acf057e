"""A folder a class: each file of text is a row, and the name of the folder that it lies in is its label.

Folders may lie in other folders or in a .zip; the innermost name counts. It looks at no text to guess a label.

    septet dataset --builder '{kind: folders, train: movie_reviews.zip}'
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from septet.data.divide import Found
from septet.data.files import Pattern, newlines
from septet.data.parts import Gathered, PartsBuilder, Paths, Problems, files_of, whole_text

__all__ = ["Folders"]


class Folders(PartsBuilder):
    """Rows of a text and a label from folders of text files."""

    pattern: Pattern = "**/*.{txt,text}*"
    """Which files are read: `*` within a name, `**/` any folders, `{a,b}` either."""

    def gather(self, parts: Mapping[str, Paths], problems: Problems) -> Gathered:
        """One row a file."""
        rows = {part: list(self._rows(paths, problems)) for part, paths in parts.items()}
        return Gathered("classification", rows, columns={"text": "file", "label": "folder"})

    def _rows(self, paths: Paths, problems: Problems) -> Iterator[Found]:
        for file in files_of(paths, problems, self.pattern):
            steps = file.name.rpartition("!")[2].split("/")
            if len(steps) < 2:
                problems(file.name, "the file lies in no folder that could be its label")
                continue
            text = whole_text(file, problems, self.encoding)
            if text is None:
                continue
            if not text.strip():
                problems(file.name, "the file holds no text")
                continue
            yield Found({"text": newlines(text).strip(), "label": steps[-2]}, file.name)
