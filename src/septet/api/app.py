"""An application: what `serve` in a recipe names, opened into something that answers.

    serve: {app: assistant, model: $liked, index: $docs}          # `app` is the kind, the rest are the App's fields

`App` is the configuration (a component of the drawer `septet.api.apps`); `App.open(store)` loads what it needs and returns a
`RunningApp`, whose `chat` yields events: `Working` (what it does meanwhile), `Found` (the citations), `Piece` (some words, and
whose they are) and, last, `Finish`.
`Transcript` turns the same events into the text that every OpenAI client shows and the extra field `septet` beside it.

What it is not: HTTP. The routes and the page drive a running app through `septet.api.service`.

    septet serve --app assistant --model liked --index docs
"""

from __future__ import annotations

import re
import threading
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, ClassVar, Literal

from septet.core.component import Component
from septet.core.errors import RecipeError, SeptetError
from septet.core.step import Runtime
from septet.core.store import Store
from septet.infer.engine import Finish as Reason
from septet.infer.engine import Message, Usage
from septet.retrieval.answer import Citation

__all__ = [
    "About",
    "App",
    "Cancel",
    "ChatRequest",
    "Delta",
    "Event",
    "Finish",
    "Found",
    "ModelCard",
    "Piece",
    "RequestError",
    "RunningApp",
    "Transcript",
    "Working",
    "configure",
    "place",
]

PieceKind = Literal["model", "quote", "notice"]


class RequestError(SeptetError):
    """The request itself cannot be served (too long, for example): status 400, with the parameter to blame."""

    def __init__(self, message: str, *, param: str | None = None, code: str | None = None) -> None:
        super().__init__(message)
        self.param, self.code = param, code


# -- what goes in -------------------------------------------------------------------------------------------------------


class Cancel:
    """A wish to stop that crosses threads: set once, by whoever left; asked, or listened to, by whoever works."""

    def __init__(self) -> None:
        self._lock, self._set, self._calls = threading.Lock(), False, []

    def __call__(self) -> None:
        with self._lock:
            calls, self._calls, self._set = self._calls, [], True
        for call in calls:
            call()

    def is_set(self) -> bool:
        return self._set

    def then(self, call: Callable[[], object]) -> None:
        """Run `call` when the wish comes; at once if it came already."""
        with self._lock:
            if not self._set:
                self._calls.append(call)
                return
        call()


@dataclass(frozen=True, slots=True)
class ChatRequest:
    """A conversation and how to continue it; None leaves the choice to the app. model: the `ModelCard.id` that was asked for."""

    messages: tuple[Message, ...]
    model: str | None = None
    max_tokens: int | None = None
    temperature: float | None = None
    top_p: float | None = None
    seed: int | None = None
    stop: tuple[str, ...] = ()
    cancel: Cancel = field(default_factory=Cancel, compare=False)

    @property
    def question(self) -> str:
        """The text of the last user message ("" if there is none)."""
        return next((message["content"] for message in reversed(self.messages) if message["role"] == "user"), "")


# -- what comes out -----------------------------------------------------------------------------------------------------


def place(citation: Citation) -> str:
    """Return `posixpath.py:71`, or just the file where no line is known."""
    return f"{citation.file}:{citation.line}" if citation.line else citation.file


@dataclass(frozen=True, slots=True)
class Found:
    """The citations that the answer uses, and whether the documents support it."""

    citations: tuple[Citation, ...]
    grounded: bool


@dataclass(frozen=True, slots=True)
class Piece:
    """Some words of the answer. kind: "model" (its own words), "quote" (a passage, verbatim) or "notice" (the app speaks).

    Pieces that follow each other with the same kind and citation continue one part, unless `new` says otherwise.
    """

    text: str
    kind: PieceKind = "model"
    citation: int | None = None
    new: bool = False


NOTHING_USED = Usage(0, 0)


@dataclass(frozen=True, slots=True)
class Finish:
    """The end: why, and the tokens that the model really read and wrote (0 and 0 where the documents answered without it)."""

    reason: Reason = "stop"
    usage: Usage = NOTHING_USED


@dataclass(frozen=True, slots=True)
class Working:
    """What the app is doing before there are words; for people who wait, no part of the answer."""

    text: str


Event = Working | Found | Piece | Finish


@dataclass(frozen=True, slots=True)
class ModelCard:
    """One line of `/v1/models`. created: seconds since the epoch. fingerprint: changes when the answers may."""

    id: str
    created: int
    fingerprint: str
    owned_by: str = "septet"


@dataclass(frozen=True, slots=True)
class About:
    """What people should know before they ask: shown by the page."""

    title: str
    intro: str
    examples: tuple[str, ...] = ()
    documents: int | None = None


class RunningApp(ABC):
    """An opened app. Its methods are called from several threads."""

    @abstractmethod
    def about(self) -> About:
        """Return what the page says about this app."""

    @abstractmethod
    def models(self) -> tuple[ModelCard, ...]:
        """Return the models that requests may name; at least one."""

    @abstractmethod
    def chat(self, request: ChatRequest) -> Iterator[Event]:
        """Yield the answer's events, the last one a Finish; stop early once `request.cancel` is set.

        Raises RequestError before the first event where the request cannot be served.
        """

    def ready(self) -> bool:
        """Return whether requests can be answered now."""
        return True

    def close(self) -> None:  # noqa: B027  an app that holds nothing has nothing to let go
        """Let go of what `open` took."""


class App(Component):
    """An application's configuration; `open` loads what it names."""

    drawer: ClassVar[str] = "septet.api.apps"

    @abstractmethod
    def open(self, store: Store, *, runtime: Runtime | None = None) -> RunningApp:
        """Load models and indexes from the store. Raises StoreError if one is not there."""


def configure(serve: Mapping[str, Any], *, ids: Mapping[str, str] | None = None) -> App:
    """Build the App that a recipe's `serve` mapping describes; `ids` gives the artifact for each `$step`.

    Raises RecipeError where 'app' is missing or a `$step` has no artifact yet, ComponentError for unknown fields.
    """
    fields = {key: dict(value) if isinstance(value, Mapping) else value for key, value in serve.items()}
    if "app" not in fields:
        raise RecipeError(
            "'serve' says no 'app'; write for example `serve: {app: assistant, model: $liked, index: $docs}`."
        )
    known = ids or {}
    for path, place in (("serve", fields), *((f"serve.{k}", v) for k, v in fields.items() if isinstance(v, dict))):
        for key, value in place.items():
            if isinstance(value, str) and value.startswith("$"):
                found = known.get(value) or known.get(value[1:])
                if found is None:
                    raise RecipeError(f"{path}.{key}: '{value}' has not been made yet; run the recipe first.")
                place[key] = found
    return App.parse({"kind": fields.pop("app"), **fields})


# -- the answer as text -------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Delta:
    """What one event adds: to the text, and to the field `septet`.

    OpenAI's own client merges the deltas of a stream: texts and numbers of equal keys are added up, entries of lists are matched
    by `index`. So a part's kind and citation are sent once, with its first words, and the citations and `grounded` once.
    """

    text: str = ""
    extra: dict[str, Any] = field(default_factory=dict)


class Transcript:
    """Turns events into plain text and parts as they come.

    Quotes become lines that begin with "> ", a part that cites ends with its mark "[1]", and the end lists the sources, so that
    any client of the OpenAI interface shows all of it.
    """

    def __init__(self) -> None:
        self.parts: list[dict[str, Any]] = []
        self.citations: tuple[Citation, ...] = ()
        self.grounded = False
        self.text = ""
        self.finish: Finish | None = None
        self._line_start = True

    def add(self, event: Event) -> Delta:
        """Take one event in and return what it adds."""
        before, extra = len(self.text), {}
        match event:
            case Found():
                self.citations, self.grounded = event.citations, event.grounded
                extra = {"citations": [asdict(c) for c in self.citations], "grounded": self.grounded}
            case Piece():
                extra = {"parts": [self._piece(event)]}
            case Finish():
                self.finish = event
                self._close()
                if self.citations:
                    self.text += "\n\nSources:\n" + "\n".join(_source(citation) for citation in self.citations)
        return Delta(self.text[before:], extra)

    def extra(self) -> dict[str, Any]:
        """Return the value of the field `septet`: citations, parts, grounded."""
        return {"citations": [asdict(c) for c in self.citations], "parts": self.parts, "grounded": self.grounded}

    def _piece(self, piece: Piece) -> dict[str, Any]:
        last = self.parts[-1] if self.parts else None
        if last and not piece.new and (last["kind"], last["citation"]) == (piece.kind, piece.citation):
            last["text"] += piece.text
            added = {"index": last["index"], "text": piece.text}
        else:
            self._close()
            if self.parts:
                self.text += "\n\n"
            self._line_start = True
            added = {"index": len(self.parts), "kind": piece.kind, "text": piece.text, "citation": piece.citation}
            self.parts.append(dict(added))
        if piece.kind == "quote":
            for line in re.split(r"(?<=\n)", piece.text):
                if line:
                    self.text += ("> " if self._line_start else "") + line
                    self._line_start = line.endswith("\n")
        else:
            self.text += piece.text
        return added

    def _close(self) -> None:
        """End the current part with its mark, unless its words carry it already."""
        last = self.parts[-1] if self.parts else None
        if last and last["citation"] is not None and not last["text"].rstrip().endswith(f"[{last['citation']}]"):
            self.text += f" [{last['citation']}]"


def _source(citation: Citation) -> str:
    where = f" ({place(citation)})" if citation.file else ""
    return f"[{citation.number}] {citation.name}{where}"
