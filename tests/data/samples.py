"""Files of every format, made as they are needed: pages, papers, web archives, tables.

python -m pytest tests/data/test_page_sources.py tests/data/test_row_sources.py tests/data/test_damage.py
"""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import pyarrow
import pyarrow.parquet
import pypdf
from pypdf.generic import DecodedStreamObject, DictionaryObject, NameObject

LONG = (
    "A paragraph that is long enough to be the main text of a page, as the extraction looks for text and not for links."
)


def page(title: str, text: str, extra: str = "") -> str:
    return (
        f"<html><head><title>{title}</title>{extra}</head><body><nav><a href='/'>Home</a> <a href='/b'>Menu</a></nav>"
        f"<main><article><h1>{title}</h1><p>{text}</p></article></main>"
        "<footer>All rights reserved</footer><script>var x = 'code';</script></body></html>"
    )


def pdf(*pages: str, title: str = "", password: str = "") -> bytes:
    writer = pypdf.PdfWriter()
    font = DictionaryObject({
        NameObject("/Type"): NameObject("/Font"), NameObject("/Subtype"): NameObject("/Type1"),
        NameObject("/BaseFont"): NameObject("/Helvetica"),
    })  # fmt: skip
    for text in pages:
        made = writer.add_blank_page(300, 300)
        made[NameObject("/Resources")] = DictionaryObject(
            {NameObject("/Font"): DictionaryObject({NameObject("/F1"): writer._add_object(font)})}
        )
        stream = DecodedStreamObject()
        stream.set_data(f"BT /F1 12 Tf 20 200 Td ({text}) Tj ET".encode())
        made[NameObject("/Contents")] = writer._add_object(stream)
    if title:
        writer.add_metadata({"/Title": title})
    if password:
        writer.encrypt(password, algorithm="RC4-128")
    out = io.BytesIO()
    writer.write(out)
    return out.getvalue()


def record(
    number: int, body: bytes, *, kind: str = "response", head: str = "", wrong: int = 0, status: str = "200 OK"
) -> bytes:
    if kind == "response":
        head = head or "Content-Type: text/html; charset=utf-8\r\n"
        body = f"HTTP/1.1 {status}\r\n{head}\r\n".encode() + body
    lines = (
        "WARC/1.0", f"WARC-Type: {kind}", f"WARC-Record-ID: <urn:uuid:0000-{number}>", f"WARC-Target-URI: http://site{number}.org/a",
        "WARC-Date: 2024-05-01T10:00:00Z", f"Content-Type: {'application/http' if kind == 'response' else 'text/plain'}",
        f"Content-Length: {len(body) + wrong}",
    )  # fmt: skip
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + body + b"\r\n\r\n"


def html(number: int) -> bytes:
    return page(f"Page {number}", LONG).encode()


def table(*items: dict, group: int = 1000) -> bytes:
    out = io.BytesIO()
    pyarrow.parquet.write_table(pyarrow.Table.from_pylist(list(items)), out, row_group_size=group, compression="none")
    return out.getvalue()


def save(folder: Path, *parts: list[dict], licence: str = "", **state: Any) -> Path:
    """What `Dataset.save_to_disk` writes: Arrow streams, state.json and dataset_info.json."""
    folder.mkdir(parents=True)
    names = [f"data-{number:05d}-of-{len(parts):05d}.arrow" for number in range(len(parts))]
    for name, items in zip(names, parts, strict=True):
        made = pyarrow.Table.from_pylist(items)
        with pyarrow.OSFile(str(folder / name), "wb") as file, pyarrow.ipc.new_stream(file, made.schema) as stream:
            stream.write_table(made, max_chunksize=10)
    content = {"_data_files": [{"filename": name} for name in names], "_fingerprint": "f", "_split": "train", **state}
    (folder / "state.json").write_text(json.dumps(content))
    (folder / "dataset_info.json").write_text(json.dumps({"license": licence, "features": {}}))
    return folder
