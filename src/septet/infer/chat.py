"""Conversations to tokens and back: the tokenizer's own chat template where it has one, else Septet's.

Septet's template uses tokens that the tokenizer step reserves, after the one that begins every text in pre-training:

    <|endoftext|><|user|>What does os.path.join do?<|end|><|assistant|>

An answer ends with `<|end|>` (or `<|endoftext|>`). Role tokens inside a message's text are text, never a turn: what a person
types cannot pretend to be the system.

What it is not: a renderer of tool calls or images.

    python -m pytest tests/infer/test_chat.py
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from septet.data.special import ASSISTANT, END, END_OF_TEXT, SYSTEM, USER
from septet.infer.engine import EngineError, Message

__all__ = ["ROLES", "TEMPLATE", "Chat", "Rendered", "encode_text", "prepare_for_chat"]

ROLES = {"system": SYSTEM, "user": USER, "assistant": ASSISTANT}


TEMPLATE = (
    "{{ bos_token }}"
    "{% for message in messages %}"
    "{{ '<|' + message['role'] + '|>' + message['content'] + '<|end|>' }}"
    "{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|assistant|>' }}{% endif %}"
)
"""The same conversation as a Jinja template, saved with the model so that transformers and servers render it alike."""


def encode_text(tokenizer: Any, text: str) -> list[int]:
    """Return the token ids of plain text; strings that look like special tokens are encoded as ordinary text."""
    # what is too long is dealt with later, so the tokenizer's warning about its longest sequence would mislead
    return tokenizer.encode(text, add_special_tokens=False, split_special_tokens=True, verbose=False)


@dataclass(frozen=True, slots=True)
class Rendered:
    """A conversation as tokens: ids [T] and, beside each, whether the assistant says it (its text and its end token)."""

    ids: list[int]
    answer: list[bool]


class Chat:
    """Renders conversations for one tokenizer. Raises EngineError where the tokenizer cannot hold a conversation."""

    def __init__(self, tokenizer: Any) -> None:
        self.tokenizer = tokenizer
        vocabulary = tokenizer.get_vocab()
        self.own = tokenizer.chat_template in (None, TEMPLATE)
        """Septet's template is used; False where the tokenizer brings its own."""
        self.possible = not self.own or (END in vocabulary and all(token in vocabulary for token in ROLES.values()))
        ends = [END, END_OF_TEXT, "<|im_end|>", "<|eot_id|>", tokenizer.eos_token]
        self.end_ids = frozenset(vocabulary[token] for token in ends if token in vocabulary)
        """Tokens that end an answer."""
        self._ends_turns = not self.own
        self._turn_end: int | None = None
        if not self.own:
            self._ends_turns, self._turn_end = _end_of(tokenizer)
            self.end_ids |= frozenset(() if self._turn_end is None else (self._turn_end,))

    def _check(self) -> None:
        if not self.possible:
            raise EngineError(
                "This model's tokenizer has no chat template and lacks the tokens of ours "
                f"({', '.join([*ROLES.values(), END])}). Fine-tune it with `septet finetune`, which adds them, or send a prompt."
            )

    def prompt(self, messages: Sequence[Message]) -> list[int]:
        """Return the ids of a conversation up to where the assistant's next answer begins."""
        self._check()
        if self.own:
            return [*self._render(messages).ids, self._role("assistant")]
        ids = self.tokenizer.apply_chat_template(
            [dict(message) for message in messages], add_generation_prompt=True, tokenize=True, return_dict=False
        )
        return list(ids)

    def answer(self, text: str) -> list[int]:
        """Return the ids of an answer with the token that ends it."""
        return [*encode_text(self.tokenizer, text), self.end_id]

    @property
    def end_id(self) -> int:
        """The token that ends an answer in training."""
        self._check()
        if self.own:
            return self.tokenizer.convert_tokens_to_ids(END)
        if self._turn_end is not None:
            return self._turn_end
        if not self._ends_turns:
            raise EngineError(
                "This chat template never ends a turn: after the assistant's words it writes no special token at which an answer "
                "could be told to stop. Write one there, such as {{ eos_token }}, in the model's chat_template.jinja."
            )
        for token in ("<|im_end|>", "<|eot_id|>", self.tokenizer.eos_token):
            if token in self.tokenizer.get_vocab():
                return self.tokenizer.convert_tokens_to_ids(token)
        raise EngineError("This model's tokenizer has no end-of-text token, so an answer could never end.")

    def conversation(self, messages: Sequence[Message]) -> Rendered:
        """Return a whole conversation as ids, with the assistant's words marked."""
        self._check()
        if self.own:
            return self._render(messages)
        # a template of someone else's: the part before each answer, then the answer; later turns follow the template
        ids: list[int] = []
        answer: list[bool] = []
        for position, message in enumerate(messages):
            if message["role"] != "assistant":
                continue
            before = self.prompt(messages[:position])
            said = self.answer(message["content"])
            if before[: len(ids)] != ids:
                raise EngineError(
                    "This chat template renders earlier turns differently once later ones follow, so a conversation of several "
                    "answers cannot be trained on in one row. Split it into one answer a row."
                )
            ids, answer = before + said, answer + [False] * (len(before) - len(answer)) + [True] * len(said)
        return Rendered(ids, answer)

    def _role(self, role: str) -> int:
        return self.tokenizer.convert_tokens_to_ids(ROLES[role])

    def _render(self, messages: Sequence[Message]) -> Rendered:
        start = self.tokenizer.bos_token_id
        ids: list[int] = [] if start is None else [start]
        answer = [False] * len(ids)
        for message in messages:
            said = self.answer(message["content"])
            ids += [self._role(message["role"]), *said]
            answer += [False] + [message["role"] == "assistant"] * len(said)
        return Rendered(ids, answer)


def _end_of(tokenizer: Any) -> tuple[bool, int | None]:
    """Return whether the tokenizer's template ends what the assistant says, and with which token; (True, None) where it does not
    render a plain exchange, and nobody can tell."""
    from jinja2 import TemplateError  # 20 ms, and there wherever transformers renders

    mark = "septet"
    talk = [{"role": "user", "content": "a"}, {"role": "assistant", "content": mark}]
    try:
        _, there, after = str(tokenizer.apply_chat_template(talk, tokenize=False)).rpartition(mark)
    except (TemplateError, TypeError, ValueError):
        return True, None
    if not there:
        return True, None
    special = {id for id, token in tokenizer.added_tokens_decoder.items() if token.special}
    found = next((id for id in tokenizer.encode(after, add_special_tokens=False) if id in special), None)
    return found is not None, found


def prepare_for_chat(module: Any, tokenizer: Any) -> list[str]:
    """Give a model that has no chat template Septet's; return the tokens that had to be added to its vocabulary.

    Tokens that were never seen in training begin as ones that were: the end of an answer as the end of a text, the roles as the
    mean of all tokens. The generation settings name the tokens that end an answer. Changes module and tokenizer in place.
    """
    added: list[str] = []
    if tokenizer.chat_template is None:
        known = tokenizer.get_vocab()
        added = [token for token in (*ROLES.values(), END) if token not in known]
        if added:
            tokenizer.add_special_tokens({"extra_special_tokens": added}, replace_extra_special_tokens=False)
            if len(tokenizer) > module.get_input_embeddings().weight.shape[0]:
                module.resize_token_embeddings(len(tokenizer), mean_resizing=False)
        _start_tokens(module, tokenizer)
        tokenizer.chat_template = TEMPLATE
    config = module.generation_config
    config.eos_token_id = sorted(Chat(tokenizer).end_ids)
    if config.pad_token_id is None:
        config.pad_token_id = tokenizer.pad_token_id if tokenizer.pad_token_id is not None else config.eos_token_id[0]
    return added


def _start_tokens(module: Any, tokenizer: Any) -> None:
    import torch  # rendering conversations does without

    ids = {token: tokenizer.convert_tokens_to_ids(token) for token in (*ROLES.values(), END)}
    with torch.no_grad():
        weights = {id(w): w for w in (module.get_input_embeddings().weight, module.get_output_embeddings().weight)}
        for weight in weights.values():  # one where they are tied
            usual = [row for row in range(weight.shape[0]) if row not in ids.values()]
            mean = weight[usual].mean(dim=0)
            for token, place in ids.items():
                known = token == END and tokenizer.eos_token_id is not None
                weight[place] = weight[tokenizer.eos_token_id] if known else mean
