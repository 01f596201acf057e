"""An assistant that answers from documents, quotes them and says where they stand; without an index, plain chat.

With an index the last user message is looked up, and `septet.retrieval.answer` decides what may be said: the model's own words
where the passages support them, else the passages themselves, else that the documents do not cover it. Without one, the
conversation goes to the model as it is, and nothing supports its words.

What it is not: a reader of earlier turns. A follow-up such as "and on Windows?" is looked up by its own words alone.

    septet serve        or        serve: {app: assistant, model: $liked, index: $docs}
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from pydantic import Field

from septet.api.app import About, App, ChatRequest, Event, Finish, Found, ModelCard, Piece, RunningApp
from septet.core.artifact import MANIFEST, Artifact
from septet.core.component import IndexRef, ModelRef
from septet.core.errors import ComponentError
from septet.core.step import Runtime
from septet.core.store import Store
from septet.infer.engine import Backend, Engine, Request

__all__ = ["Assistant", "RunningAssistant"]


class Assistant(App):
    """Answer from documents, with citations; or chat, where there are none."""

    model: ModelRef | None = None
    """The model that writes; without one, the passages are the answer."""
    index: IndexRef | None = None
    """The documents that it answers from; without them, plain chat."""
    backend: Backend = Field(default_factory=lambda: Backend.parse("torch"))
    """What runs the model."""
    name: str = Field("assistant", pattern=r"^[A-Za-z0-9][A-Za-z0-9._/-]*$", max_length=100)
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

    def open(self, store: Store, *, runtime: Runtime | None = None) -> RunningAssistant:
        """Load the model and the index. Raises StoreError where one is missing, ComponentError where neither is named."""
        if self.model is None and self.index is None:
            raise ComponentError("The assistant needs a model, an index or both; name at least one of them.")
        model = store.resolve(self.model, kinds=self.model.kinds) if self.model is not None else None
        index = store.resolve(self.index, kinds=self.index.kinds) if self.index is not None else None
        device = runtime.device if runtime else "auto"
        engine = self.backend.open(model.path, device=device) if model else None
        return RunningAssistant(self, engine, model, index)


class RunningAssistant(RunningApp):
    """The opened assistant."""

    def __init__(self, app: Assistant, engine: Engine | None, model: Artifact | None, index: Artifact | None) -> None:
        self.app, self.engine = app, engine
        parts = [artifact for artifact in (model, index) if artifact is not None]
        self._card = ModelCard(
            id=app.name,
            created=int(max((artifact.path / MANIFEST).stat().st_mtime for artifact in parts)),
            fingerprint="-".join(artifact.short for artifact in parts),
        )
        self._closed = False

    def about(self) -> About:
        return About(
            title=self.app.title or "Chat",
            intro=self.app.intro or "A conversation with the model alone: nothing checks what it says.",
            examples=self.app.examples,
        )

    def models(self) -> tuple[ModelCard, ...]:
        return (self._card,)

    def ready(self) -> bool:
        return not self._closed

    def chat(self, request: ChatRequest) -> Iterator[Event]:
        return self._alone(request)

    def close(self) -> None:
        if not self._closed:
            self._closed = True
            if self.engine is not None:
                self.engine.close()

    def _alone(self, request: ChatRequest) -> Iterator[Event]:
        assert self.engine is not None
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
        }
