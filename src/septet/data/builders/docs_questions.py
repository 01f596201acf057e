"""Questions and short answers from documentation: what X does, its parameters, and which entry does Y.

Answers are the document's own words (the first sentences of its docstring), its parameters as the signature gives them, or
its name; nothing is invented, and an entry whose docstring says too little gives no question. Text without signatures (one's
own files) is asked what a section says and which section says it. The questions follow patterns: they are not what people
would write, so an evaluation needs questions of its own.

    septet dataset --corpus text --builder docs-questions
"""

from __future__ import annotations

import ast
import random
import re
from collections import Counter
from collections.abc import Iterator, Sequence

from pydantic import Field

from septet.data.builder import Builder, Built, Row, exchange
from septet.data.documents import Document

__all__ = ["DocsQuestions", "base_form", "first_sentences", "parameters"]

WHAT = (
    "What does {name} do?",
    "What is {name} for?",
    "Explain {name} in short.",
    "What does the {type} {name} do?",
    "Describe {name}.",
)
WHAT_NOUN = ("What is {name}?", "What is the {type} {name}?", "Explain {name} in short.", "Describe {name}.")
WHAT_SAYS = ("What does {name} say?", "What is in {name}?", "Summarise {name} in short.", "What is {name} about?")
PARAMETERS = (
    "What are the parameters of {name}?",
    "Which arguments does {name} take?",
    "How do I call {name}?",
    "What can I pass to {name}?",
)
WHICH_VERB = (
    "Which {type} should I use to {action}?",
    "How can I {action}?",
    "What do I use to {action}?",
    "How do I {action}?",
    "Which {type} can {action}?",
)
WHICH_NOUN = ("Which {type} is described as: {action}?", "What is called: {action}?", "Name the {type}: {action}.")
WHICH_SAYS = ("Which section says: {action}", "Where does it say: {action}", "In which part can I read: {action}")

# Words that open a docstring and are no command: "A list-like sequence", "Base class for".
_ARTICLES = frozenset(
    ("a", "an", "the", "this", "these", "base", "abstract", "helper", "class", "mixin", "subclass", "one")
)
_ABBREVIATION = re.compile(r"(?:\b(?:e\.g|i\.e|etc|cf|vs|resp|approx|incl|No|Dr|Mr|Mrs|St)|\b[A-Z])\.$")


class DocsQuestions(Builder):
    """Question-and-answer rows from documents."""

    per_document: int = Field(default=3, ge=1, le=12)
    """At most so many rows from one document."""
    max_words: int = Field(default=50, ge=5, le=400)
    """Longest answer, in words."""
    private: bool = False
    """Also ask about names that are not for users."""

    def build(self, train: Sequence[Document], held_out: Sequence[Document], *, seed: int) -> Built:
        # A "which" question has one right answer only where no other document, of either side, says the same.
        said = Counter(_key(self._answer(doc)) for doc in (*train, *held_out) if self._asks(doc))
        sides = [self._side(docs, said, random.Random(f"{seed}/{side}")) for side, docs in enumerate((train, held_out))]
        without = sum(self._asks(doc) and not self._answer(doc) for doc in (*train, *held_out))
        return Built(*sides, notes={"documents_without_an_answer": without})

    def _asks(self, doc: Document) -> bool:
        return (doc.public or self.private) and doc.meta.get("type") != "code"

    def _answer(self, doc: Document) -> str:
        return first_sentences(str(doc.meta.get("doc") or doc.text), max_words=self.max_words)

    def _side(self, docs: Sequence[Document], said: Counter[str], rng: random.Random) -> list[Row]:
        rows: list[Row] = []
        for doc in sorted(docs, key=lambda doc: doc.id):
            if self._asks(doc):
                found = list(self._rows(doc, said, rng))
                if len(found) > self.per_document:
                    found = [found[place] for place in sorted(rng.sample(range(len(found)), self.per_document))]
                rows.extend(found)
        rng.shuffle(rows)
        return rows

    def _rows(self, doc: Document, said: Counter[str], rng: random.Random) -> Iterator[Row]:
        answer = self._answer(doc)
        kind = str(doc.meta.get("type", ""))
        name = str(doc.meta["title"]) if doc.meta.get("title") else doc.name or doc.id
        is_code = kind in ("function", "method", "class", "module", "property", "builtin")
        if answer:
            verb = base_form(answer.split()[0]) if is_code and kind != "module" else ""
            patterns = WHAT_SAYS if not is_code else WHAT if verb or kind in ("function", "method") else WHAT_NOUN
            yield exchange(rng.choice(patterns).format(name=name, type=kind), answer, document=doc.id, kind="what")
            action = first_sentences(answer, max_words=30, most=1).rstrip(".!?: ")
            if len(action.split()) >= 4 and said[_key(answer)] == 1 and doc.name.lower() not in action.lower():
                if verb:
                    rest = action.split(None, 1)[1]
                    question = rng.choice(WHICH_VERB).format(type=kind, action=f"{verb} {rest}")
                elif is_code:
                    lowered = action[0].lower() + action[1:] if action.split()[0].lower() in _ARTICLES else action
                    question = rng.choice(WHICH_NOUN).format(type=kind, action=lowered)
                else:
                    question = rng.choice(WHICH_SAYS).format(action=f'"{action}"?')
                yield exchange(question, name, document=doc.id, kind="which")
        if kind in ("function", "method", "class"):
            spoken = parameters(name, str(doc.meta.get("signature", "")), max_words=self.max_words)
            # Half of the calls without parameters are enough to learn that there are such.
            if spoken and (not spoken.endswith("no parameters.") or rng.random() < 0.5):
                yield exchange(rng.choice(PARAMETERS).format(name=name), spoken, document=doc.id, kind="parameters")


def _key(text: str) -> str:
    return " ".join(text.casefold().split())


def first_sentences(text: str, *, max_words: int, most: int = 3) -> str:
    """The first sentences of the first paragraph that is prose, at most `most` of them and `max_words` words.

    "" where there is none: examples, tables, headings and single words are no answer. A first sentence that is too long is
    cut at a comma or semicolon where that leaves eight words or more, else there is no answer.

    >>> first_sentences("Join paths.  See e.g. os.sep. More.\\n\\nNext", max_words=6)
    'Join paths. See e.g. os.sep. More.'
    """
    for paragraph in re.split(r"\n[ \t]*\n", text.strip())[:3]:
        lines = paragraph.strip("\n").split("\n")
        joined = " ".join(" ".join(lines).split())
        if _is_prose(lines, joined):
            break
    else:
        return ""
    words_left, found = max_words, []
    for sentence in _sentences(joined)[:most]:
        words = len(sentence.split())
        if words > words_left:
            break
        found.append(sentence)
        words_left -= words
    if found:
        return " ".join(found).rstrip(":") if not found[-1].endswith(":") else " ".join(found)[:-1] + "."
    cut = re.split(r"(?<=[,;])\s", " ".join(joined.split()[:max_words]))
    shorter = " ".join(cut[:-1]).rstrip(",; ")
    return shorter + "." if len(shorter.split()) >= 8 else ""


def _is_prose(lines: list[str], joined: str) -> bool:
    if len(joined.split()) < 3 or joined.startswith((">>>", "...", "```", "|", "+-", "..", "@", "$ ")):
        return False
    if any(re.match(r"\s*([-*+]|\d+[.)])\s", line) for line in lines) and not re.match(r"\w", lines[0]):
        return False
    if re.match(r"\w+(\.\w+)*\(.*\)\s*(->|$)", joined) or re.search(r"[=*~-]{4,}", joined):
        return False
    letters = sum(character.isalpha() or character == " " for character in joined)
    return letters >= 0.75 * len(joined)


def _sentences(text: str) -> list[str]:
    found, start = [], 0
    for match in re.finditer(r"[.!?]+[\"')\]]*(?=\s+[\"'(\[]?[A-Z0-9_`*\"'(<]|\s*$)", text):
        piece = text[start : match.end()].strip()
        if _ABBREVIATION.search(piece) and match.end() < len(text):
            continue
        found.append(piece)
        start = match.end()
    rest = text[start:].strip()
    if rest:
        found.append(rest if rest.endswith((".", "!", "?", ":")) else rest + ".")
    return found


def base_form(word: str) -> str:
    """The plain form of the verb that opens a docstring ("Returns" -> "return"), or "" where it seems to be no verb.

    >>> base_form("Matches"), base_form("Copies"), base_form("Sequence")
    ('match', 'copy', '')
    """
    bare = word.strip(".,:;").lower()
    if bare in _VERBS:
        return bare
    for ending, instead in (("ies", "y"), ("es", ""), ("s", "")):
        if bare.endswith(ending) and bare.removesuffix(ending) + instead in _VERBS:
            return bare.removesuffix(ending) + instead
    return ""


_VERB_LIST = """
    accept access acquire activate add adjust allocate allow append apply arrange assert assign attach await begin bind
    block break build calculate call cancel capture cast change check choose clean clear clone close collect combine compare
    compile complete compress compute concatenate configure connect construct consume continue convert copy count create
    deactivate decode decompress decorate decrease decrement define delete delegate deliver describe deserialize detach
    detect determine disable discard disconnect dispatch display divide do download draw drop dump emit empty enable encode
    encrypt end enforce ensure enter enumerate erase escape establish evaluate examine exchange execute exit expand export
    expose extend extract fetch fill filter find finish fix flush fold force fork format forward free gather generate get
    give grab group guess handle hash hide hold identify ignore implement import include increase increment indicate
    initialise initialize insert inspect install instantiate interpret intersect invert invoke issue iterate join keep kill
    launch leave let limit link list load locate lock log look lower make manage map mark match measure merge mock modify
    monitor move multiply negate normalize notify obtain offer open order output override pack parse pass pause peek perform
    pick place play poll pop post prepare prepend preserve prevent print process produce propagate provide push put query
    queue quote raise randomize read rebuild receive record recover redirect reduce refresh register reject release reload
    remove rename render repeat replace report request reset resize resolve restore restrict resume retrieve return reverse
    rewind rotate round run save scan schedule search see seek select send separate serialize serve set shift show shuffle
    shut shutdown simulate skip sleep sort specify split start stop store strip submit subtract sum suppress suspend swap
    switch sync synchronize take tell terminate test toggle trace track transfer transform translate traverse treat trim
    truncate try turn undo unescape uninstall unlink unlock unpack unregister unset update upload use validate verify visit
    wait wake walk warn wrap write yield zip
"""
_VERBS = frozenset(_VERB_LIST.split())


def parameters(name: str, signature: str, *, max_words: int) -> str:
    """The parameters in words, from "join(a, *p)"; "" where the signature is not known or too long to tell.

    >>> parameters("os.path.join", "join(a, *p)", max_words=40)
    'os.path.join(a, *p) takes a and any number of further values (*p).'
    >>> parameters("os.getcwd", "getcwd()", max_words=40)
    'os.getcwd() takes no parameters.'
    """
    inside = signature[signature.find("(") :] if "(" in signature else ""
    if not inside:
        return ""
    call = name + inside
    try:
        node = ast.parse(f"def f{inside}: pass").body[0]
    except SyntaxError:  # "pack(format, v1, v2, ...) -> bytes": shown as the documentation writes it
        shown = name + inside.split(" -")[0].rstrip()
        return f"Call it as {shown}." if len(shown.split()) <= max_words and "(" in shown and len(shown) <= 200 else ""
    assert isinstance(node, ast.FunctionDef)
    arguments = node.args
    positional = [*arguments.posonlyargs, *arguments.args]
    defaults: list[ast.expr | None] = [None] * (len(positional) - len(arguments.defaults)) + [*arguments.defaults]
    said = [_one(argument, default) for argument, default in zip(positional, defaults, strict=True)]
    if arguments.vararg:
        said.append(f"any number of further values (*{arguments.vararg.arg})")
    said += [
        _one(one, default, by_name=True)
        for one, default in zip(arguments.kwonlyargs, arguments.kw_defaults, strict=True)
    ]
    if arguments.kwarg:
        said.append(f"any further named values (**{arguments.kwarg.arg})")
    bare = f"{name}({_names_only(arguments)})"
    if not said:
        return f"{bare} takes no parameters."
    listed = said[0] if len(said) == 1 else ", ".join(said[:-1]) + " and " + said[-1]
    text = f"{bare} takes {listed}."
    if len(text.split()) <= max_words and len(text) <= 400:
        return text
    call = re.sub(r"\s*->.*$", "", call)
    return f"Call it as {call}." if len(call) <= 240 else ""


def _names_only(arguments: ast.arguments) -> str:
    parts = [one.arg for one in (*arguments.posonlyargs, *arguments.args)]
    if arguments.vararg:
        parts.append("*" + arguments.vararg.arg)
    elif arguments.kwonlyargs:
        parts.append("*")
    parts += [one.arg for one in arguments.kwonlyargs]
    if arguments.kwarg:
        parts.append("**" + arguments.kwarg.arg)
    return ", ".join(parts)


def _one(argument: ast.arg, default: ast.expr | None, *, by_name: bool = False) -> str:
    notes = []
    if by_name:
        notes.append("by name only")
    if default is not None:
        notes.append(f"default {ast.unparse(default)}")
    return f"{argument.arg} ({', '.join(notes)})" if notes else argument.arg
