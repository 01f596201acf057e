"""The assistant: plain chat with the echo engine, and answers from a real, tiny index.

python -m pytest tests/api/test_assistant.py
"""

from __future__ import annotations

import pytest

from septet.api.app import ChatRequest, Finish, Found, Piece
from septet.api.apps.assistant import Assistant
from septet.core.artifact import Artifact
from septet.core.errors import ComponentError, StoreError
from septet.core.store import Store
from septet.infer.engine import ContextError, Usage


def keep(store: Store, id: str, kind: str) -> Artifact:
    """Commit an empty artifact of a kind."""
    with store.making(id) as work:
        return store.commit(work, Artifact(id=id, kind=kind, inputs={}, step={}))


def asking(text: str, **more) -> ChatRequest:
    return ChatRequest(({"role": "user", "content": text},), **more)


def test_plain_chat_streams_the_models_words(store: Store) -> None:
    keep(store, "a" * 32, "model")
    app = Assistant(model="a" * 32, backend={"kind": "echo"}, name="parrot").open(store)
    assert app.about().documents is None
    assert [card.id for card in app.models()] == ["parrot"]
    assert app.ready()
    events = list(app.chat(asking("polly wants a cracker")))
    assert events[0] == Found((), grounded=False)
    assert "".join(event.text for event in events if isinstance(event, Piece)) == "polly wants a cracker"
    assert events[-1].usage.prompt_tokens == 4
    app.close()
    app.close()
    assert not app.ready()


def test_limits_reach_the_model(store: Store) -> None:
    keep(store, "a" * 32, "model")
    app = Assistant(model="a" * 32, backend={"kind": "echo", "context": 8}).open(store)
    *_, last = app.chat(asking("one two three four", max_tokens=2))
    assert last == Finish("length", Usage(4, 2))
    words = [event.text for event in app.chat(asking("one two stop four", stop=("stop",))) if isinstance(event, Piece)]
    assert "".join(words).strip() == "one two"
    with pytest.raises(ContextError):
        list(app.chat(asking("word " * 20)))


def test_cancelling_ends_the_generation(store: Store) -> None:
    keep(store, "a" * 32, "model")
    app = Assistant(
        model="a" * 32, backend={"kind": "echo", "times": 1_000_000, "context": 10**9}, max_tokens=10**8
    ).open(store)
    request = asking("again and")
    events = app.chat(request)
    while not isinstance(next(events), Piece):
        pass
    request.cancel()
    *_, last = events
    assert last.reason == "cancelled"


def test_what_cannot_be_opened_says_why(store: Store) -> None:
    with pytest.raises(ComponentError, match="a model, an index or both"):
        Assistant().open(store)
    with pytest.raises(StoreError, match="no artifact named 'liked'"):
        Assistant(model="liked").open(store)
    keep(store, "b" * 32, "corpus")
    with pytest.raises(StoreError, match="is a corpus, and a model is needed"):
        Assistant(model="b" * 32).open(store)
