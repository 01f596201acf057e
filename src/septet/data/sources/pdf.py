"""PDF files: the text layer, one document a file, with a form feed between pages.

Encrypted files and files without a text layer (scans) are named and left out, and so are single pages that cannot be read. It
recognises no printed characters in images, and keeps no tables or columns apart.

    septet corpus --source '{kind: pdf, path: papers/}'
"""

from __future__ import annotations

import logging
from collections.abc import Iterator

from septet.core.extras import need
from septet.data.documents import Document
from septet.data.files import MAX_RECORD, File, FileSource, Pattern
from septet.data.source import Bad

__all__ = ["Pdf"]


class Pdf(FileSource):
    """Documents from PDF files."""

    pattern: Pattern = "**/*.pdf*"
    """Which files of the folder or archive are read: `*` within a name, `**/` any folders, `{a,b}` either."""

    def documents(self, file: File, bad: Bad) -> Iterator[Document]:
        """One document, or none where there is no text."""
        pypdf = need("pypdf", "corpus")  # 150 ms
        logging.getLogger("pypdf").setLevel(logging.ERROR)  # it warns of every oddity that it copes with
        with file.seekable(bad) as stream:
            if stream is None:
                return
            if not stream.read(1):
                bad(file.name, "the file is empty")
                return
            try:
                reader = pypdf.PdfReader(stream)
                if reader.is_encrypted:
                    bad(file.name, "encrypted; decrypt it first")
                    return
                count, title = len(reader.pages), (reader.metadata and reader.metadata.title) or ""
            except Exception as error:  # whatever a damaged file makes the parser run into
                bad(file.name, f"not a PDF that can be read ({type(error).__name__}: {error})")
                return
            pages, size = [], 0
            for number in range(count):
                try:
                    pages.append(reader.pages[number].extract_text())
                except Exception as error:
                    bad(f"{file.name}, page {number + 1}", f"the page cannot be read ({type(error).__name__}: {error})")
                    pages.append("")
                size += len(pages[-1])
                if size > MAX_RECORD:
                    bad(file.name, f"the text is longer than {MAX_RECORD >> 20} MiB")
                    return
        if not size:
            bad(file.name, "no text in the file; a scan needs character recognition first")
            return
        name = file.name
        yield Document(
            id=name, text="\f".join(pages), name=str(title).strip() or name, group=name, file=name, line=1,
            meta={"type": "pdf", "pages": count},
        )  # fmt: skip
