"""Tables of text, CSV and TSV: records of named fields, read on after damage.

Quoted fields may hold newlines. A row with more or fewer fields than there are columns is named and left out; so is one in another
encoding, and a quote that is never closed. Python's `csv` cuts the fields. It does not know what the columns mean.

    python -m pytest tests/data/test_row_sources.py -k csv
"""

from __future__ import annotations

import csv
import re
from collections import deque
from collections.abc import Callable, Iterator, Sequence

from septet.data.files import MAX_RECORD, File, decode_line, lines, not_text
from septet.data.source import Bad

__all__ = ["delimited_rows"]

DELIMITERS = ",;\t|"
TRIES = 1000  # quotes that are not closed, after which what they swallow is lost


def delimited_rows(
    file: File,
    bad: Bad,
    *,
    delimiter: str = "",
    columns: Sequence[str] = (),
    encoding: str = "utf-8",
    quotes: bool = True,
    strict: bool = False,
    check: Callable[[Sequence[str]], None] = lambda names: None,
) -> Iterator[tuple[int, dict[str, str]]]:
    """Yield (number of its first line, fields) of every row.

    delimiter: "" for what the first row has most of. columns: the names, where the first row does not give them. encoding: of what
    has no byte-order mark and is not UTF-8. quotes: whether they may enclose a field. strict: a letter after
    a closing quote makes the row a damaged one. check: called with the names, at the start.
    """
    names = tuple(columns)
    if names:
        check(names)
    for number, values in _records(file, bad, delimiter=delimiter, encoding=encoding, quotes=quotes, strict=strict):
        if not names:
            names = tuple(name.strip() for name in values)
            check(names)
            continue
        if len(values) != len(names):
            bad(file.place(number, 0), f"the row has {len(values)} fields and there are {len(names)} columns")
            continue
        row = {name: _mended(value, encoding) for name, value in zip(names, values, strict=True)}
        if None in row.values():
            raw = ",".join(values).encode("utf-8", "surrogateescape")
            bad(file.place(number, 0), not_text(raw, encoding))
            continue
        yield number, {name: value for name, value in row.items() if value is not None}


def _records(
    file: File, bad: Bad, *, delimiter: str, encoding: str, quotes: bool, strict: bool
) -> Iterator[tuple[int, list[str]]]:
    """(number of its first line, fields) of every record. After a quote that is never closed, the next line begins anew."""
    csv.field_size_limit(MAX_RECORD)  # of the whole process, and only ever raised
    rows = _Lines(file, encoding, bad)
    delimiter = delimiter or rows.delimiter()
    quoting = csv.QUOTE_MINIMAL if quotes else csv.QUOTE_NONE
    reader = csv.reader(rows, delimiter=delimiter, quoting=quoting, strict=strict)
    while True:
        rows.begin()
        problem = ""
        try:
            values = next(reader)
        except StopIteration:
            return
        except csv.Error as error:
            values, problem = [], str(error)
        number = rows.taken[0][0]
        ended = (
            quotes and rows.ended and len(rows.taken) > 1 and sum(line.count('"') for _, line in rows.taken) % 2 == 1
        )
        if problem or ended:
            reason = "a quote that is opened here is not closed" if ended else problem
            if strict and "'\"'" in reason:  # as `csv` says it: ',' expected after '"'
                reason = "a letter follows a quote that closes a field"
            bad(file.place(number, 0), reason)
            rows.again()
            reader = csv.reader(rows, delimiter=delimiter, quoting=quoting, strict=strict)
        elif values:
            yield number, values


def _mended(value: str, encoding: str) -> str | None:
    """A field as text: UTF-8, else `encoding`, else None."""
    if value.isascii():
        return value
    return decode_line(value.encode("utf-8", "surrogateescape"), encoding)


class _Lines:
    """The lines of a file for `csv.reader`; keeps those of the record at hand, so that reading may begin anew after its first."""

    def __init__(self, file: File, encoding: str, bad: Bad) -> None:
        every = lines(file, bad, encoding=encoding)
        # bytes that are not UTF-8 are kept as they are, for the record to tell of: a line may close the quote of another
        self._lines = ((number, raw.decode("utf-8", "surrogateescape") + "\n") for number, _, raw in every)
        self._ahead: deque[tuple[int, str]] = deque()
        self._tries = 0
        self._size = 0
        self.taken: list[tuple[int, str]] = []
        self.ended = False

    def __iter__(self) -> Iterator[str]:
        return self

    def __next__(self) -> str:
        item = self._ahead.popleft() if self._ahead else next(self._lines, None)
        if item is None:
            self.ended = True
            raise StopIteration
        self.taken.append(item)
        self._size += len(item[1])
        if self._size > MAX_RECORD:
            raise csv.Error(f"the row is longer than {MAX_RECORD >> 20} MiB")
        return item[1]

    def begin(self) -> None:
        """A new record begins."""
        self.taken.clear()
        self._size = 0

    def again(self) -> None:
        """Give the lines of the record once more, without its first; not for ever, since each time may read far ahead."""
        self._tries += 1
        if self._tries <= TRIES:
            self._ahead.extendleft(reversed(self.taken[1:]))
            self.ended = False

    def delimiter(self) -> str:
        """The character of `DELIMITERS` that the first line has most of, outside of quotes."""
        first = next(self, "")
        self._ahead.extendleft(reversed(self.taken))
        self.begin()
        bare = re.sub(r'"[^"]*"', "", first)
        return max(DELIMITERS, key=bare.count)
