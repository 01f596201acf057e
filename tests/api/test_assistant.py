"""The assistant: plain chat with the echo engine, and answers from a real, tiny index.

python -m pytest tests/api/test_assistant.py
"""

from __future__ import annotations

import pytest
from click import UsageError
from tests.train.adapter_models import shake
from tiny_chat import save_model

from septet.api.app import ChatRequest, Finish, Found, Piece, RequestError, Transcript, Working
from septet.api.apps.assistant import Assistant
from septet.cli.main import Settings
from septet.cli.serving import open_app
from septet.core.artifact import Artifact
from septet.core.errors import ComponentError, StoreError
from septet.core.store import Store
from septet.data.documents import Document
from septet.infer.engine import ContextError, Usage
from septet.infer.tasks.chat import Chat
from septet.retrieval.index import build_index
from septet.train.adapters.lora import Lora


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


DOCUMENTS = (
    Document(
        id="os.path.join",
        name="os.path.join",
        text="join(a, *p)\n\nJoin two or more pathname components, inserting '/' as needed.",
        group="os",
        file="posixpath.py",
        line=71,
        meta={
            "type": "function",
            "signature": "join(a, *p)",
            "doc": "Join two or more pathname components, inserting '/' as needed.",
        },
    ),
    Document(
        id="shutil.rmtree",
        name="shutil.rmtree",
        text="rmtree(path)\n\nRecursively delete a directory tree.",
        group="shutil",
        file="shutil.py",
        line=686,
        meta={"type": "function", "signature": "rmtree(path)", "doc": "Recursively delete a directory tree."},
    ),
)


@pytest.fixture
def documented(store: Store):
    """An assistant over two documents, with the echo as its model."""
    keep(store, "a" * 32, "model")
    with store.making("c" * 32) as work:
        build_index(work / "out", DOCUMENTS)
        store.commit(work, Artifact(id="c" * 32, kind="index", inputs={}, step={}))

    def open_(**fields):
        return Assistant(**{"index": "c" * 32, "model": "a" * 32, "backend": {"kind": "echo"}, **fields}).open(store)

    return open_


def told(app, question: str) -> tuple[list, Transcript]:
    events, transcript = list(app.chat(asking(question))), Transcript()
    for event in events:
        transcript.add(event)
    return events, transcript


def test_an_answer_names_entry_file_and_line(documented) -> None:
    app = documented(model=None)
    _, transcript = told(app, "How do I join pathname components?")
    first = transcript.citations[0]
    assert (first.name, first.file, first.line) == ("os.path.join", "posixpath.py", 71)
    assert transcript.grounded
    assert [part["kind"] for part in transcript.parts] == ["quote"]
    assert "Join two or more pathname components" in transcript.parts[0]["text"]
    assert "\n\nSources:\n[1] os.path.join (posixpath.py:71)" in transcript.text
    assert transcript.finish == Finish("stop", Usage(0, 0))


def test_supported_words_are_the_models_own_and_quotes_are_not(documented) -> None:
    events, transcript = told(documented(), "Join two or more pathname components.")
    assert [type(event) for event in events[:2]] == [Working, Working]
    assert [(part["kind"], part["citation"]) for part in transcript.parts] == [("model", 1), ("quote", 1)]
    assert transcript.parts[0]["text"] == "Join two or more pathname components."
    assert transcript.finish.usage == Usage(6, 7)


def test_unsupported_words_give_way_to_the_passages(documented) -> None:
    _, transcript = told(documented(), "Does os.path.join fly to the moon in winter?")
    assert [part["kind"] for part in transcript.parts] == ["notice", "quote"]
    assert "moon" not in transcript.text
    assert transcript.citations[0].name == "os.path.join"


def test_what_no_document_covers(documented) -> None:
    _, transcript = told(documented(), "Will it rain in Lisbon tomorrow?")
    assert [part["kind"] for part in transcript.parts] == ["notice"]
    assert (transcript.citations, transcript.grounded) == ((), False)
    assert transcript.text == "This is not in the documents."
    assert transcript.finish.usage == Usage(0, 0)


def test_passages_can_be_given_to_the_model(documented) -> None:
    _, transcript = told(documented(reads="passages"), "Join two or more pathname components.")
    # the echo repeats its whole prompt, the instruction included, and that is in no passage
    assert [part["kind"] for part in transcript.parts] == ["notice", "quote"]
    assert transcript.finish.usage.prompt_tokens > 15


def test_a_grounded_answer_can_be_cancelled(documented) -> None:
    app = documented(backend={"kind": "echo", "times": 1_000_000, "context": 10**9}, max_tokens=10**8)
    request = asking("Join two or more pathname components.")
    events = app.chat(request)
    assert next(events) == Working("Looking in the documents")
    assert next(events) == Working("Checking the model's words against 1 passage")
    request.cancel()
    assert [event.reason for event in events] == ["cancelled"]


def test_about_and_limits_with_documents(documented) -> None:
    app = documented(title="Ask", passages=1)
    assert (app.about().title, app.about().documents) == ("Ask", 2)
    assert set(app.about().examples) == {"What does os.path.join do?", "What does shutil.rmtree do?"}
    with pytest.raises(RequestError, match="at most 8,000"):
        list(app.chat(asking("x" * 9000)))
    _, transcript = told(app, "pathname components")
    assert len(transcript.citations) == 1
    app.close()


@pytest.fixture(scope="module")
def tuned(tmp_path_factory):
    """A store with a base and two models that were fine-tuned from it."""
    store = Store(tmp_path_factory.mktemp("tuned"))
    with store.making("a" * 32) as work:
        Chat().open(save_model(work / "state" / "plain"), device="cpu").save(work / "out")  # with its words for roles
        base = store.commit(work, Artifact(id="a" * 32, kind="model", inputs={}, step={}))
    for id, seed in (("b" * 32, 1), ("c" * 32, 2)):
        lora = Lora(rank=2)
        with store.making(id) as work:
            model = shake(lora.attach(Chat().open(base.path, device="cpu"), seed=seed), 0.2 + seed / 10)
            lora.save(model, work / "out" / "adapter")
            lora.merge(model).save(work / "out")
            store.commit(work, Artifact(id=id, kind="model", inputs={"model": base.id}, step={}))
    return store


def test_one_model_with_several_adapters_answers_by_name(tuned) -> None:
    def words(app, **more) -> str:
        return "".join(e.text for e in app.chat(asking("What?", max_tokens=12, **more)) if isinstance(e, Piece))

    alone = {}
    for id in ("a" * 32, "b" * 32, "c" * 32):
        running = Assistant(model=id).open(tuned)
        alone[id[0]] = words(running)
        running.close()
    app = Assistant(model="a" * 32, adapters={"short": "b" * 32, "long.v2": "c" * 32}).open(tuned)
    assert [card.id for card in app.models()] == ["assistant", "short", "long.v2"]
    assert app.models()[1].fingerprint == "-".join(tuned.get(id * 32).short for id in "abc")
    for name, id in (("short", "b"), ("assistant", "a"), ("long.v2", "c"), (None, "a"), ("short", "b")):
        assert words(app, model=name) == alone[id]
    app.close()


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"adapters": {"whole": "a" * 32}}, "adapters.whole: aaaaaaaa.* holds no adapter that could be taken off"),
        ({"adapters": {"assistant": "b" * 32}}, "'assistant' is the name of the model itself"),
        (
            {"adapters": {"x": "b" * 32}, "backend": {"kind": "echo"}},
            "the backend 'echo' cannot switch them; torch can",
        ),
    ],
)
def test_adapters_that_cannot_be(tuned, fields, message) -> None:
    with pytest.raises(ComponentError, match=message):
        Assistant(model="a" * 32, **fields).open(tuned)


def test_adapters_without_a_model(tuned) -> None:
    with pytest.raises(ComponentError, match="they stand on a model; name what they were fine-tuned from"):
        Assistant(index="d" * 32, adapters={"short": "b" * 32}).open(tuned)


def test_adapters_on_the_command_line_share_the_model_that_they_came_from(tuned) -> None:
    settings = Settings(tuned.home, False, False, 0)
    plain = {"name": None, "index": None, "device": "cpu"}
    running = open_app(settings, model=None, adapters=("short=" + "b" * 32, "long=" + "c" * 32), **plain)
    assert running.app.model == "a" * 32, "the base is what they were fine-tuned from"
    assert [card.id for card in running.models()] == ["assistant", "short", "long"]
    running.close()
    with pytest.raises(UsageError, match="NAME=MODEL is expected, such as short=by-hand/short; got 'bbbb'"):
        open_app(settings, model=None, adapters=("bbbb",), **plain)
    with pytest.raises(UsageError, match="name it with --model"):
        open_app(settings, model=None, adapters=("base=" + "a" * 32,), **plain)
