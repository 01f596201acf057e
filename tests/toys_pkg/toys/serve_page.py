"""The chat page over an app that answers as the tests of the page need it; prints its address and serves until SIGTERM."""

from __future__ import annotations

import threading
from collections.abc import Iterator

from septet.api.app import About, ChatRequest, Event, Finish, Found, ModelCard, Piece
from septet.api.server import build, serve_forever
from septet.infer.engine import Usage
from septet.retrieval.answer import Citation
from septet.ui.pages import mount
from toys.scripted import JOIN, Scripted

BAD = Citation(2, "<img src=x onerror=alert(4)>", "a.py", 1, 0.5, "<img src=x onerror=alert(3)>")


def script(request: ChatRequest) -> Iterator[Event]:
    left = threading.Event()
    request.cancel.then(left.set)
    question = request.question
    if question.startswith("weather"):
        yield Found((), grounded=False)
        yield Piece("The documents do not cover this.", "notice")
        yield Finish()
        return
    if question == "fail":
        raise RuntimeError("secret")
    if question == "who":
        yield Found((JOIN,), grounded=True)
        yield Piece(f"I am {request.model}.", citation=1)
        yield Finish("stop", Usage(1, 3))
        return
    citation = BAD if "<" in question else JOIN
    yield Found((citation,), grounded=True)
    words = ["word "] * 100_000 if question == "endless" else [f"{question} ", *["and so on "] * 10]
    for word in words:
        if left.wait(0.03):
            yield Finish("cancelled", Usage(1, 1))
            return
        yield Piece(word, citation=citation.number)
    yield Piece(citation.quote, "quote", citation.number)
    yield Finish("stop", Usage(9, 9))


class Documented(Scripted):
    def about(self) -> About:
        return About(
            "Ask <b>Python</b>", "Answers {{7*7}}.", ("How do I join two paths?", "<img src=x onerror=alert(5)>"), 12
        )

    def models(self) -> tuple[ModelCard, ...]:
        return tuple(ModelCard(name, 1_700_000_000, "abc123") for name in ("assistant", "eager"))


web = build(Documented(script))
web.get("/in-flight")(lambda: web.state.service.in_flight)
mount(web)
serve_forever(web, port=0, started=lambda address: print(address, flush=True))
