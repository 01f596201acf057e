"""Texts and their translations, or other pairs, line by line: two files of equal length, or one file of two columns.

Line n of the second file is the translation of line n of the first; further files hold further right answers (references). Files of
unequal length are refused, and a line that is blank on one side cannot be used. The rows are for writing the second text of the
first, or with `task: similarity` for vectors that bring the two together. A table whose first row names the columns is read by
`table`.

    septet dataset --builder '{kind: parallel, train: [train.en, train.de], validation: [val.en, val.de]}'
    septet dataset --builder '{kind: parallel, train: pairs.tsv, task: similarity}'
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Literal

from septet.core.errors import DataError
from septet.data.builder import Row
from septet.data.divide import Found
from septet.data.parts import Gathered, PartsBuilder, Paths, Problems, files_of, text_lines

__all__ = ["Parallel"]


class Parallel(PartsBuilder):
    """Rows of a source and a target from files that are aligned by their lines."""

    task: Literal["text-to-text", "similarity"] = "text-to-text"
    """What the rows are for: to write the second text of the first, or to find it by its vector (anchor and positive)."""

    def gather(self, parts: Mapping[str, Paths], problems: Problems) -> Gathered:
        """Errors: DataError where files have unequal numbers of lines, or a row other than two columns or more."""
        rows = {part: list(self._rows(paths, problems)) for part, paths in parts.items()}
        what = "file" if len(parts["train"]) > 1 else "column"
        first, second = self._roles
        return Gathered(self.task, rows, columns={first: f"{what} 1", second: f"{what} 2"})

    @property
    def _roles(self) -> tuple[str, str]:
        return ("anchor", "positive") if self.task == "similarity" else ("source", "target")

    def _rows(self, paths: Paths, problems: Problems) -> Iterator[Found]:
        for place, texts in self._aligned(paths, problems):
            blank = [side for side, text in enumerate(texts, start=1) if not text.strip()]
            if blank:
                problems(place, f"text {blank[0]} of {len(texts)} is empty")
                continue
            source, target, *more = (text.strip() for text in texts)
            first, second = self._roles
            row: Row = {first: source, second: target}
            references = list(dict.fromkeys([target, *more]))
            if len(references) > 1 and self.task == "text-to-text":
                row["references"] = references
            yield Found(row, place)

    def _aligned(self, paths: Paths, problems: Problems) -> Iterator[tuple[str, list[str]]]:
        """(place, texts) of every row."""
        if len(paths) == 1:
            for file in files_of(paths, problems):
                for number, line in text_lines(file, problems, self.encoding):
                    cells = line.split("\t")
                    if len(cells) < 2:
                        problems(
                            file.place(number, 0), "the line has no tab; a text, a tab and its translation are expected"
                        )
                    else:
                        yield file.place(number, 0), cells
            return
        # by number, so that a line that cannot be read shifts no other
        sides = [(file, dict(text_lines(file, problems, self.encoding))) for file in files_of(paths, problems)]
        if len(sides) != len(paths):
            raise DataError(
                "A folder or an archive does not say which of its files belong together; name two files.", file=paths[0]
            )
        counts = [max(side, default=0) for _, side in sides]
        if len(set(counts)) > 1:
            told = ", ".join(f"{file.name} has {count:,} lines" for (file, _), count in zip(sides, counts, strict=True))
            raise DataError(f"The files are not aligned: {told}. As many lines are expected in each.")
        first = sides[0][0]
        for number in range(1, counts[0] + 1):
            if all(number in side for _, side in sides):
                yield first.place(number, 0), [side[number] for _, side in sides]
