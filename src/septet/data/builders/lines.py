"""Lines of text, each a row, cut by a regular expression with a named group for every role.

Roles are text, label, pair, labels, value, source, target, prompt, completion, anchor, positive, negative, id, group and time; the
groups say what the rows are for. A line that does not fit is named. Blank lines are passed over.

    septet dataset --builder '{kind: lines, train: stsa.binary.train, label_names: {0: negative, 1: positive}}'
    septet dataset --builder '{kind: lines, train: TREC.train, encoding: latin-1, pattern: "(?P<label>[A-Z]+):\\S+ (?P<text>.+)"}'
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Annotated

from pydantic import AfterValidator, Field

from septet.core.errors import nearest
from septet.data.parts import Gathered, PartsBuilder, Paths, Problems, files_of, text_lines, told
from septet.data.roles import ROLES, infer
from septet.data.shape import LabelNames, Shape, check_names, shaped

__all__ = ["Lines"]

SHOWN = 60
LISTED = ("words", "tags", "question", "context", "answers", "start")  # of what `conll`, `squad` and `table` read
LINE_ROLES = tuple(role for role in ROLES if role not in LISTED)


def _with_roles(pattern: str) -> str:
    try:
        groups = re.compile(pattern).groupindex
    except re.error as error:
        raise ValueError(f"the pattern {pattern!r} is no regular expression ({error}).") from None
    if not groups:
        raise ValueError(f"the pattern {pattern!r} names no group; such as (?P<label>\\S+) (?P<text>.+) is expected.")
    for name in groups:
        if name not in LINE_ROLES:
            raise ValueError(f"the group {name!r} is no role.{nearest(name, LINE_ROLES)}")
    return pattern


class Lines(PartsBuilder):
    """Rows from lines of text."""

    pattern: Annotated[str, AfterValidator(_with_roles)] = r"(?P<label>\S+)\s+(?P<text>.+)"
    """The regular expression that fits a whole line; its named groups are the roles. By default a label and the text."""
    label_names: LabelNames = Field(default_factory=dict)
    """Value -> label, for labels that are written as numbers: {0: negative, 1: positive}."""
    separator: str = Field(default=",", min_length=1)
    """What stands between the labels of a group `labels`."""

    def gather(self, parts: Mapping[str, Paths], problems: Problems) -> Gathered:
        """Errors: DataError where the groups do not say what the rows are for."""
        rows = {part: list(self._rows(paths, problems)) for part, paths in parts.items()}
        if not rows["train"]:
            return Gathered("classification", {})
        groups = {name: (name,) for name in re.compile(self.pattern).groupindex}
        task, columns = infer([row for _, row in rows["train"]], task=None, columns=groups, file=parts["train"][0])
        shape = Shape(task, columns, names=self.label_names, separator=self.separator)
        found = {part: shaped(shape, given, problems) for part, given in rows.items()}
        check_names(self.label_names, (item for items in found.values() for item in items), parts["train"][0])
        return Gathered(task, found, columns={role: role for role in columns}, remarks=[told(task, columns)])

    def _rows(self, paths: Paths, problems: Problems) -> Iterator[tuple[str, dict[str, str | None]]]:
        compiled = re.compile(self.pattern)
        for file in files_of(paths, problems):
            for number, line in text_lines(file, problems, self.encoding):
                if not line.strip():
                    continue
                match = compiled.fullmatch(line)
                if match is None:
                    shown = line if len(line) <= SHOWN else line[:SHOWN] + "..."
                    problems(file.place(number, 0), f"the line does not fit the pattern: {shown!r}")
                else:
                    yield file.place(number, 0), match.groupdict()
