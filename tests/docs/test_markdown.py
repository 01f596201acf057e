"""The reader of our own Markdown, on a page made for it.

python -m pytest tests/docs/test_markdown.py
"""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.docs import markdown

PAGE = """# Title

See [one](a.md#b), `[not](this.md)` and ![a picture of a thing](p.svg).

## Same thing
## Same thing: `x_y`, again
## Same thing

```bash
# no heading [no](link.md)
echo 1
```

```python not-run: it needs a key
pass
```
"""


@pytest.fixture
def page(tmp_path: Path) -> Path:
    path = tmp_path / "page.md"
    path.write_text(PAGE)
    return path


def test_fences_carry_language_note_and_line(page: Path):
    bash, python = markdown.fences(page)
    assert (bash.language, bash.note, bash.line) == ("bash", "", 10)
    assert bash.content == "# no heading [no](link.md)\necho 1\n"
    assert (python.language, python.note) == ("python", "not-run: it needs a key")


def test_links_leave_code_out(page: Path):
    assert list(markdown.links(page)) == [(3, "a.md#b"), (3, "p.svg")]


def test_anchors_are_githubs(page: Path):
    assert markdown.anchors(page) == {"title", "same-thing", "same-thing-x_y-again", "same-thing-1"}


def test_an_open_fence_is_an_error(tmp_path: Path):
    path = tmp_path / "page.md"
    path.write_text("```bash\necho\n")
    with pytest.raises(AssertionError, match="never closed"):
        markdown.fences(path)
