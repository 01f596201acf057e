"""The chat page at `/`: ask, watch the answer come, see what it rests on.

The model's own words and quoted passages carry different labels, not only different looks; sources are cards with the entry,
file and line; what the documents do not cover is said in so many words. Everything shown is set as text, never as HTML or
Markdown. The conversation lives in the open tab and nowhere else.

What it is not: an account, a history, or a way round the limits: it asks the same service as the routes.

    septet serve, then open the address that it prints
"""

from __future__ import annotations

from pathlib import Path

from nicegui import ui
from nicegui.elements.mixins.text_element import TextElement

from septet.api.app import About, ChatRequest, Event, Finish, Piece, Transcript, Working, place
from septet.api.errors import ApiError, as_api_error
from septet.api.service import Reply, Service
from septet.retrieval.answer import Citation

__all__ = ["add"]

CSS = Path(__file__).with_suffix(".css").read_text(encoding="utf-8")
THEMES: dict[str, bool | None] = {"Auto": None, "Light": False, "Dark": True}

SEND_ON_ENTER = """(event) => {
    if (event.key !== 'Enter' || event.shiftKey || event.isComposing) return;
    event.preventDefault();
    if (event.target.value.trim()) emit(event.target.value);
}"""
SEND_ON_CLICK = """() => {
    const box = document.querySelector('.ask textarea');
    if (box.value.trim()) emit(box.value); else box.focus();
}"""
GROW = """(event) => {
    event.target.style.height = 'auto';
    event.target.style.height = Math.min(event.target.scrollHeight, 200) + 'px';
}"""
CLEAR = "(() => { const box = document.querySelector('.ask textarea'); box.value = ''; box.style.height = 'auto'; box.focus(); })()"
# follows the answer as it grows, but never past its own question, and not once the reader has scrolled
FOLLOW = """(() => {
    const log = document.querySelector('.log');
    if (log.dataset.followed) return;  // a tab that came back
    log.dataset.followed = 'yes';
    let following = true, asked = 0;
    for (const act of ['wheel', 'touchmove', 'keydown']) addEventListener(act, (event) => {
        if (act !== 'keydown' || ['PageUp', 'PageDown', 'Home', 'End', 'ArrowUp'].includes(event.key)) following = false;
    }, {passive: true});
    new MutationObserver(() => {
        const questions = log.querySelectorAll('.question');
        if (questions.length !== asked) { asked = questions.length; following = true; }
        if (!following || !asked) return;
        const header = document.querySelector('header').offsetHeight;
        const top = questions[asked - 1].getBoundingClientRect().top + scrollY - header - 16;
        scrollTo({top: Math.min(top, document.documentElement.scrollHeight - innerHeight)});
    }).observe(log, {childList: true, subtree: true, characterData: true});
    document.querySelector('.ask textarea').focus();
})()"""


def add(service: Service) -> None:
    """Register the page."""

    @ui.page("/")
    def chat() -> None:
        Chat(service)


def _tag(tag: str, classes: str = "", text: str | None = None, **attributes: str) -> ui.element:
    """Return an element; `text` is set as text, so nothing in it is ever read as HTML."""
    element = ui.element(tag) if text is None else TextElement(tag=tag, text=text)
    for name, value in attributes.items():
        element.props[name.replace("_", "-")] = value
    return element.classes(classes)


def _text(text: str = "", tag: str = "p") -> TextElement:
    return TextElement(tag=tag, text=text).classes("text")


class Chat:
    """One open tab: its conversation and the answer in progress."""

    def __init__(self, service: Service) -> None:
        self.service = service
        self.about: About = service.app.about()
        self.models = [card.id for card in service.app.models()]
        self.model = self.models[0]
        self.history: list[dict[str, str]] = []
        self.reply: Reply | None = None
        ui.add_css(CSS)
        self.dark = ui.dark_mode(None)
        self._header()
        with _tag("div", "talk"):
            self.log = _tag("div", "log", role="log", aria_live="polite", aria_label="Conversation")
            with self.log:
                self._welcome()
        self._composer()
        # a tab that is closed, and does not come back within the reconnect time, ends its answer
        self.client = ui.context.client
        self.client.on_delete(self.stop)
        self.client.on_connect(lambda: self.client.run_javascript(FOLLOW))

    # -- what is there from the start -------------------------------------------------------------------------------

    def _header(self) -> None:
        with _tag("header"), _tag("div", "bar"):
            with _tag("div", "names"):
                _tag("h1", text=self.about.title)
                count = self.about.documents
                under = "the model alone, without documents" if count is None else f"answers from {count:,} documents"
                _tag("p", "under", f"{under}, on this machine")
            if len(self.models) > 1:
                self.which = TextElement(tag="button", text=f"Model: {self.model}").classes("quiet")
                self.which.on("click", self._next_model)
            self.theme = TextElement(tag="button", text="Theme: Auto").classes("quiet").on("click", self._next_theme)
            _tag("button", "quiet", "New chat", type="button").on("click", self.restart)

    def _welcome(self) -> None:
        with _tag("section", "welcome", aria_label="Start"):
            _tag("p", "intro", self.about.intro)
            if self.about.examples:
                _tag("h2", text="Try one of these")
                with _tag("ul", "examples"):
                    for example in self.about.examples:
                        with _tag("li"):
                            _tag("button", "example", example, type="button").on(
                                "click", lambda _, example=example: self.ask(example)
                            )

    def _composer(self) -> None:
        with _tag("footer"):
            with _tag("div", "ask"):
                self._box()
            # how to use it, for eyes and for screen readers
            _tag(
                "p",
                "hint",
                "Enter sends, Shift+Enter makes a new line. Answers can be wrong; the passages show what they rest on.",
            )

    def _box(self) -> None:
        box = _tag("textarea", rows="1", aria_label="Your question", placeholder="Ask a question", maxlength="8000")
        box.on("keydown", lambda event: self.ask(event.args), js_handler=SEND_ON_ENTER)
        box.on("input", js_handler=GROW)
        self.send = _tag("button", "send", "Send", type="button")
        self.send.on("click", lambda event: self.ask(event.args), js_handler=SEND_ON_CLICK)
        self.halt = _tag("button", "halt", "Stop", type="button").on("click", self.stop)
        self.halt.set_visibility(False)

    def _next_model(self) -> None:
        self.model = self.models[(self.models.index(self.model) + 1) % len(self.models)]
        self.which.set_text(f"Model: {self.model}")

    def _next_theme(self) -> None:
        names = list(THEMES)
        now = next(name for name, value in THEMES.items() if value == self.dark.value)
        name = names[(names.index(now) + 1) % len(names)]
        self.dark.set_value(THEMES[name])
        self.theme.set_text(f"Theme: {name}")

    # -- what happens -----------------------------------------------------------------------------------------------

    def stop(self) -> None:
        """End the answer in progress; what came so far stays."""
        if self.reply is not None:
            self.reply.cancel()

    def restart(self) -> None:
        """Forget the conversation."""
        self.stop()
        self.history = []
        self.log.clear()
        with self.log:
            self._welcome()
        self.client.run_javascript(CLEAR)

    async def ask(self, question: str) -> None:
        """Show a question and stream its answer; ignored while another answer is in progress."""
        question = question.strip()
        if self.reply is not None or not question:
            return
        if not self.history:
            self.log.clear()
        self.client.run_javascript(CLEAR)  # not `ui`: the clicked example is gone by now
        with self.log:
            with _tag("section", "turn question", aria_label="You asked"):
                _text(question)
            turn = _tag("article", "turn answer", aria_label="Answer", aria_busy="true")
        with turn:
            view = Answer(self.about)
        history = [*self.history, {"role": "user", "content": question}]
        self._busy(True)
        try:
            async with self.service.submit(ChatRequest(tuple(history), model=self.model)) as reply:
                self.reply = reply
                async for event in reply:
                    if turn.is_deleted:  # a new chat, or a closed tab
                        return
                    with turn:
                        view.add(event)
            if view.transcript.finish is None:
                raise ApiError(503, "The answer was cut off. Ask again.")
            self.history = [*history, {"role": "assistant", "content": view.transcript.text}]
        except Exception as error:  # the page's edge: whatever failed is said where the answer would have been
            if not turn.is_deleted:
                with turn:
                    view.fail(str(as_api_error(error)))
        finally:
            self.reply = None
            turn.props["aria-busy"] = "false"
            turn.update()
            self._busy(False)

    def _busy(self, busy: bool) -> None:
        self.send.set_visibility(not busy)
        self.halt.set_visibility(busy)


class Answer:
    """One answer on the page, growing with its events."""

    def __init__(self, about: About) -> None:
        self.about = about
        self.transcript = Transcript()
        searching = about.documents is not None
        self.waiting: TextElement | None = _text("Waiting" if searching else "Thinking")
        self.waiting.classes("waiting").props("role=status")
        self.body = _tag("div", "parts")
        self.words: TextElement | None = None

    def add(self, event: Event) -> None:
        """Show one event."""
        begun = len(self.transcript.parts)
        self.transcript.add(event)
        match event:
            case Working() if self.waiting is not None:
                self.waiting.set_text(event.text)
            case Piece():
                self._settle()
                if len(self.transcript.parts) > begun or self.words is None:
                    with self.body:
                        self.words = self._part(event)
                self.words.set_text(self.transcript.parts[-1]["text"])
            case Finish():
                self._settle()
                self._end(event)

    def fail(self, message: str) -> None:
        """Say that there is no answer, or no more of it, and why."""
        self._settle()
        with _tag("div", "part failed", role="alert"):
            _tag("p", "label", "No answer")
            _text(message)

    def _settle(self) -> None:
        if self.waiting is not None:
            self.waiting.delete()
            self.waiting = None

    def _part(self, piece: Piece) -> TextElement:
        citation = next((c for c in self.transcript.citations if c.number == piece.citation), None)
        if piece.kind == "quote":
            with _tag("figure", "part quote"):
                _tag(
                    "figcaption", "label", "Quoted from the documents" + (f" · {_where(citation)}" if citation else "")
                )
                with _tag("blockquote"):
                    return _text()
        if piece.kind == "notice":
            absent = self.about.documents is not None and not self.transcript.grounded and not self.transcript.citations
            with _tag("div", "part notice", role="status"):
                _tag("p", "label", "Not in the documents" if absent else "Note")
                return _text()
        with _tag("div", "part model"):
            supported = f" · rests on [{citation.number}]" if citation else ""
            _tag("p", "label", f"The model's own words{supported}")
            return _text()

    def _end(self, finish: Finish) -> None:
        ends = {
            "cancelled": "Stopped.",
            "length": "Cut off: the answer reached its limit of length.",
            "deadline": "Cut off: the answer reached its limit of time.",
        }
        if finish.reason in ends:
            _tag("p", "ended", ends[finish.reason], role="status")
        if self.transcript.citations:
            with _tag("section", "sources", aria_label="Sources"):
                _tag("h2", text="Sources")
                with _tag("ol"):
                    for citation in self.transcript.citations:
                        with _tag("li", "source"):
                            self._source(citation)

    def _source(self, citation: Citation) -> None:
        quoted = any(part["kind"] == "quote" and part["citation"] == citation.number for part in self.transcript.parts)
        _tag("span", "number", f"[{citation.number}]")
        with _tag("div", "card"):
            _tag("p", "entry", citation.name)
            if citation.file:
                _tag("p", "place", place(citation))
            # a passage that the answer quotes already is folded away here
            details = _tag("details", **({} if quoted else {"open": ""}))
            with details:
                _tag("summary", text="Passage")
                _text(citation.quote, "blockquote")
            _tag("p", "score", f"match {citation.score:.2f}")


def _where(citation: Citation) -> str:
    return f"[{citation.number}] {citation.name}" + (f", {place(citation)}" if citation.file else "")
