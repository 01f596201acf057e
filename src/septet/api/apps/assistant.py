"""An assistant that answers from documents, quotes them and says where they stand; without an index, plain chat.

With an index the last user message is looked up, and `septet.retrieval.answer` decides what may be said: the model's own words
where the passages support them, else the passages themselves, else that the documents do not cover it. Without one, the
conversation goes to the model as it is, and nothing supports its words.

The model's words are checked as a whole, so with an index they appear when they are complete, not one by one.

What it is not: a reader of earlier turns. A follow-up such as "and on Windows?" is looked up by its own words alone.

    septet serve        or        serve: {app: assistant, model: $liked, index: $docs}
"""

from __future__ import annotations

import queue
import threading
from collections.abc import Iterator, Mapping, Sequence
from typing import Annotated, Any, Literal

from pydantic import Field

from septet.api.app import (
    About,
    App,
    ChatRequest,
    Event,
    Finish,
    Found,
    ModelCard,
    Piece,
    RequestError,
    RunningApp,
    Working,
)
from septet.core.artifact import MANIFEST, Artifact
from septet.core.component import IndexRef, ModelRef
from septet.core.errors import ComponentError
from septet.core.step import Runtime
from septet.core.store import Store
from septet.infer.engine import Backend, Engine, Request, Stream, Usage
from septet.retrieval.answer import Answer, Answerer
from septet.retrieval.index import SearchIndex

__all__ = ["Assistant", "RunningAssistant"]


NAME = r"^[A-Za-z0-9][A-Za-z0-9._/-]*$"


class Assistant(App):
    """Answer from documents, with citations; or chat, where there are none."""

    model: ModelRef | None = None
    """The model that writes; without one, the passages are the answer."""
    adapters: dict[Annotated[str, Field(pattern=NAME, max_length=100)], ModelRef] = Field(default_factory=dict)
    """Models that were fine-tuned from `model` with LoRA or another adapter that can be taken off, by the name under which requests
    ask for each. The model itself is in memory once."""
    index: IndexRef | None = None
    """The documents that it answers from; without them, plain chat."""
    backend: Backend = Field(default_factory=lambda: Backend.parse("torch"))
    """What runs the model."""
    name: str = Field("assistant", pattern=NAME, max_length=100)
    """The name under which requests ask for it."""
    title: str = Field("", max_length=80)
    """The page's heading; empty: "Ask the documents" or "Chat"."""
    intro: str = Field("", max_length=600)
    """What the page says first; empty: what the app does."""
    examples: tuple[str, ...] = ()
    """Questions that the page offers."""
    temperature: float = Field(0.0, ge=0.0, le=2.0)
    """Used where a request names none; 0 takes the likeliest token."""
    max_tokens: int = Field(128, ge=1)
    """The longest answer where a request names no limit, in tokens."""
    reads: Literal["question", "passages"] = "question"
    """What the model is given of a question with documents: the question alone, as a small model that was fine-tuned on questions
    and answers knows it, or the passages before it, for a model that can read them. Its words are checked either way."""
    passages: int = Field(3, ge=1, le=10)
    """How many passages are cited at most."""

    def open(self, store: Store, *, runtime: Runtime | None = None) -> RunningAssistant:
        """Load the model and the index. Raises StoreError where one is missing, ComponentError where neither is named."""
        if self.model is None and self.index is None:
            raise ComponentError("The assistant needs a model, an index or both; name at least one of them.")
        if self.adapters and self.model is None:
            raise ComponentError("adapters: they stand on a model; name what they were fine-tuned from as `model`.")
        model = store.resolve(self.model, kinds=self.model.kinds) if self.model is not None else None
        index = store.resolve(self.index, kinds=self.index.kinds) if self.index is not None else None
        device = runtime.device if runtime else "auto"
        tuned = {name: store.resolve(ref, kinds=ref.kinds) for name, ref in self.adapters.items()}
        engine = self._engine(model, tuned, device) if model else None
        opened = SearchIndex(index.path, threads=runtime.threads if runtime else None) if index else None
        if opened is not None and opened.vectors is not None:
            opened.embed(["ready"])  # loads the encoder now, and not under the first question
        parts = tuple(artifact for artifact in (model, index, *tuned.values()) if artifact is not None)
        return RunningAssistant(self, engine, opened, parts)

    def _engine(self, model: Artifact, tuned: Mapping[str, Artifact], device: str) -> Engine:
        if not tuned:
            return self.backend.open(model.path, device=device)
        from septet.infer.engines.torch import Torch  # torch and transformers: 3 s

        if not isinstance(self.backend, Torch):
            raise ComponentError(f"adapters: the backend '{self.backend.kind}' cannot switch them; torch can.")
        if self.name in tuned:
            raise ComponentError(f"adapters: '{self.name}' is the name of the model itself; give the adapter another.")
        for name, artifact in tuned.items():
            if not (artifact.path / "adapter").is_dir():
                raise ComponentError(
                    f"adapters.{name}: {artifact.short} holds no adapter that could be taken off: it was fine-tuned as a whole, "
                    "or is no fine-tuned model. Serve it as `model`."
                )
        folders = {name: artifact.path / "adapter" for name, artifact in tuned.items()}
        return self.backend.open(model.path, device=device, adapters=folders)


class RunningAssistant(RunningApp):
    """The opened assistant. `parts` are the artifacts that it was made from."""

    def __init__(
        self, app: Assistant, engine: Engine | None, index: SearchIndex | None, parts: Sequence[Artifact]
    ) -> None:
        self.app, self.engine, self.index = app, engine, index
        created = int(max((artifact.path / MANIFEST).stat().st_mtime for artifact in parts))
        fingerprint = "-".join(artifact.short for artifact in parts)
        self._cards = tuple(
            ModelCard(id=name, created=created, fingerprint=fingerprint) for name in (app.name, *app.adapters)
        )
        self._examples = app.examples or (_examples(index) if index is not None else ())
        self._closed = False

    def about(self) -> About:
        if self.index is None:
            title, intro = "Chat", "A conversation with the model alone: nothing checks what it says."
        else:
            title = "Ask the documents"
            intro = (
                "Your question is looked up in the documents. The answer quotes them and says where each passage stands; the "
                "model's own words appear only where the passages support them."
            )
        return About(
            title=self.app.title or title,
            intro=self.app.intro or intro,
            examples=self._examples,
            documents=None if self.index is None else len(self.index),
        )

    def models(self) -> tuple[ModelCard, ...]:
        return self._cards

    def ready(self) -> bool:
        return not self._closed

    def chat(self, request: ChatRequest) -> Iterator[Event]:
        return self._alone(request) if self.index is None else self._grounded(request, self.index)

    def close(self) -> None:
        if not self._closed:
            self._closed = True
            if self.engine is not None:
                self.engine.close()
            if self.index is not None:
                self.index.close()

    # -- the model alone --------------------------------------------------------------------------------------------

    def _alone(self, request: ChatRequest) -> Iterator[Event]:
        assert self.engine is not None, "`open` refuses an assistant of nothing"
        stream = self.engine.submit(Request(messages=request.messages, **self._sampling(request)))
        request.cancel.then(stream.cancel)
        yield Found((), grounded=False)
        for text in stream:
            yield Piece(text)
        yield Finish(stream.finish_reason or "stop", stream.usage)

    def _sampling(self, request: ChatRequest) -> dict[str, Any]:
        return {
            "max_tokens": request.max_tokens or self.app.max_tokens,
            "temperature": self.app.temperature if request.temperature is None else request.temperature,
            "top_p": 1.0 if request.top_p is None else request.top_p,
            "seed": request.seed,
            "stop": request.stop,
            "adapter": request.model if request.model in self.app.adapters else None,
        }

    # -- from the documents -----------------------------------------------------------------------------------------

    def _grounded(self, request: ChatRequest, index: SearchIndex) -> Iterator[Event]:
        question = request.question.strip()
        if len(question) > MAX_QUESTION:
            raise RequestError(
                f"The question has {len(question):,} characters; at most {MAX_QUESTION:,} are looked up. Ask something shorter.",
                param="messages",
                code="context_length_exceeded",
            )
        yield Working("Looking in the documents")
        # the answerer asks for the model's words in the middle of its work; a thread lets us tell of it meanwhile
        told: queue.SimpleQueue[Working | Answer | BaseException] = queue.SimpleQueue()
        writer = _Writer(self, request, told.put) if self.engine is not None else None
        answerer = Answerer(index, engine=writer, k=self.app.passages)
        threading.Thread(target=_ask, args=(answerer, question, told.put), daemon=True).start()
        while isinstance(news := told.get(), Working):
            yield news
        if isinstance(news, BaseException):
            raise news
        stream = writer.stream if writer is not None else None
        usage = stream.usage if stream is not None else Usage(0, 0)
        if request.cancel.is_set():
            yield Finish("cancelled", usage)
            return
        yield from _events(news)
        shown = stream is not None and any(part.kind == "model" for part in news.text)
        # words of the model that are not shown cannot cut the answer short
        yield Finish((stream.finish_reason if stream is not None and shown else None) or "stop", usage)


MAX_QUESTION = 8000


class _Writer:
    """The model as the answerer wants it: text for a question and passages."""

    def __init__(self, app: RunningAssistant, request: ChatRequest, tell: Any) -> None:
        self.app, self.request, self.tell = app, request, tell
        self.stream: Stream | None = None

    def generate(self, question: str, passages: Sequence[str]) -> str:
        assert self.app.engine is not None
        count = "1 passage" if len(passages) == 1 else f"{len(passages)} passages"
        self.tell(Working(f"Checking the model's words against {count}"))
        asked = question
        if self.app.app.reads == "passages":
            shown = "\n\n".join(f"[{number}] {passage}" for number, passage in enumerate(passages, 1))
            asked = f"Answer from these passages only.\n\n{shown}\n\nQuestion: {question}"
        prompt = Request(
            messages=[{"role": "user", "content": asked}], truncate=True, **self.app._sampling(self.request)
        )
        self.stream = self.app.engine.submit(prompt)
        self.request.cancel.then(self.stream.cancel)
        return self.stream.text()


def _ask(answerer: Answerer, question: str, tell: Any) -> None:
    try:
        tell(answerer.ask(question))
    except BaseException as error:  # the edge between two threads; the reader raises it
        tell(error)


def _events(answer: Answer) -> Iterator[Event]:
    yield Found(answer.citations, grounded=answer.supported)
    before = None
    for part in answer.text:
        continues = part.kind == "model" and before == (part.kind, part.citation)
        yield Piece(f" {part.text}" if continues else part.text, part.kind, part.citation, new=not continues)
        before = (part.kind, part.citation)


def _examples(index: SearchIndex, count: int = 4) -> tuple[str, ...]:
    """Return questions about the entries that are likeliest to be asked for, each of another group."""
    found: dict[str, str] = {}
    for row in (-index.standing).argsort(kind="stable")[:400].tolist():
        document = index.document(row)
        kind = document.meta.get("type")
        name = str(document.meta.get("title") or document.name or document.id)
        if kind in ("function", "class", "builtin", "method"):
            found.setdefault(document.group or name, f"What does {name} do?")
        elif kind is None:
            found.setdefault(name, f"What does {name} say?")
        if len(found) == count:
            break
    return tuple(found.values())
