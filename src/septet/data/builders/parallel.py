"""Texts and their translations, line by line: two files of equal length, or one file of two columns.

Line n of the second file is the translation of line n of the first; further files hold further right answers (references). Files of
unequal length are refused, and a line that is blank on one side cannot be used. A table whose first row names the columns is read
by `table`.

    septet dataset --builder '{kind: parallel, train: [train.en, train.de], validation: [val.en, val.de]}'
    septet dataset --builder '{kind: parallel, train: pairs.tsv}'
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from septet.core.errors import DataError
from septet.data.builder import Row
from septet.data.divide import Found
from septet.data.parts import Gathered, PartsBuilder, Paths, Problems, files_of, text_lines

__all__ = ["Parallel"]


class Parallel(PartsBuilder):
    """Rows of a source and a target from files that are aligned by their lines."""

    def gather(self, parts: Mapping[str, Paths], problems: Problems) -> Gathered:
        """Errors: DataError where files have unequal numbers of lines, or a row other than two columns or more."""
        rows = {part: list(self._rows(paths, problems)) for part, paths in parts.items()}
        several = len(parts["train"]) > 1
        columns = {"source": "file 1", "target": "file 2"} if several else {"source": "column 1", "target": "column 2"}
        return Gathered("text-to-text", rows, columns=columns)

    def _rows(self, paths: Paths, problems: Problems) -> Iterator[Found]:
        for place, texts in self._aligned(paths, problems):
            blank = [side for side, text in enumerate(texts, start=1) if not text.strip()]
            if blank:
                problems(place, f"text {blank[0]} of {len(texts)} is empty")
                continue
            source, target, *more = (text.strip() for text in texts)
            row: Row = {"source": source, "target": target}
            references = list(dict.fromkeys([target, *more]))
            yield Found({**row, "references": references} if len(references) > 1 else row, place)

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
