"""The files of a tokenizer artifact: tokenizer.json and tokenizer_config.json, a folder that transformers' AutoTokenizer opens.

What it is not: a place for learning; see `training`.

    python -m pytest tests/steps/test_tokenizer.py
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from septet.core.errors import DataError
from septet.data.tokenizers.families import FAMILIES, ROLES, guess_roles

if TYPE_CHECKING:
    from tokenizers import Tokenizer

__all__ = ["CONFIG", "FILE", "Parts", "content_of", "from_content", "open_folder", "open_json", "save"]

FILE, CONFIG = "tokenizer.json", "tokenizer_config.json"


@dataclass(frozen=True, slots=True)
class Parts:
    """A tokenizer with what its file does not hold. roles: role (bos, eos, ...) -> token. config: keys taken over as they are."""

    encoder: Tokenizer
    roles: Mapping[str, str]
    padding_side: str = "right"
    config: Mapping[str, Any] | None = None

    def with_encoder(self, encoder: Tokenizer) -> Parts:
        return replace(self, encoder=encoder)

    @property
    def special(self) -> dict[str, int]:
        """Special token -> id, by id."""
        found = self.encoder.get_added_tokens_decoder()
        return {token.content: number for number, token in sorted(found.items()) if token.special}


def save(encoder: Tokenizer, folder: Path, parts: Parts | None = None) -> None:
    """Writes tokenizer.json and tokenizer_config.json; without `parts`, the roles of the reserved tokens."""
    parts = parts or Parts(encoder, FAMILIES["none"].roles)
    folder.mkdir(parents=True, exist_ok=True)
    encoder.save(str(folder / FILE), pretty=False)
    named = set(parts.roles.values())
    config = {
        "tokenizer_class": "PreTrainedTokenizerFast",
        **{f"{role}_token": parts.roles[role] for role in ROLES if role in parts.roles},
        "additional_special_tokens": [token for token in parts.with_encoder(encoder).special if token not in named],
        "clean_up_tokenization_spaces": False,
        "add_prefix_space": False,
        "padding_side": parts.padding_side,
        **(parts.config or {}),
    }
    (folder / CONFIG).write_text(json.dumps(config, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")


def content_of(encoder: Tokenizer) -> dict[str, Any]:
    """The encoder as the JSON value that its file holds; `from_content` is the way back."""
    return json.loads(encoder.to_str())


def from_content(content: Mapping[str, Any], *, file: object = None) -> Tokenizer:
    """The encoder of a JSON value. Errors: DataError for one that the library does not take."""
    from tokenizers import Tokenizer  # 0.1 s; the command line does without

    try:
        return Tokenizer.from_str(json.dumps(content, ensure_ascii=False))
    except Exception as error:  # the library raises plain Exception
        raise DataError(f"the tokenizer does not fit together: {error}", file=file) from None


def _once(path: Path) -> Any:
    def pairs(items: Sequence[tuple[str, Any]]) -> dict[str, Any]:
        found = dict(items)
        if len(found) != len(items):
            seen: set[str] = set()
            double = next(key for key, _ in items if key in seen or seen.add(key))
            raise DataError(f"the name {double!r} stands twice in one JSON object; each token has one id.", file=path)
        return found

    return pairs


def open_json(path: Path) -> Any:
    """The value of a JSON file. Errors: DataError for what is not JSON, and for a name that stands twice in one object."""
    try:
        return json.loads(path.read_text(encoding="utf-8-sig"), object_pairs_hook=_once(path))
    except UnicodeDecodeError as error:
        raise DataError(f"the file is not UTF-8 ({error.reason} at byte {error.start}).", file=path) from None
    except json.JSONDecodeError as error:
        raise DataError(f"the file is not JSON ({error.msg}, line {error.lineno}).", file=path) from None
    except RecursionError:
        raise DataError("the JSON is nested too deeply to be a tokenizer.", file=path) from None


def check_ids(vocabulary: Mapping[str, Any], path: Path) -> None:
    """Errors: DataError where ids are not whole numbers from 0, or two tokens share one."""
    owner: dict[int, str] = {}
    for token, number in vocabulary.items():
        if not isinstance(number, int) or isinstance(number, bool) or number < 0:
            raise DataError(f"the token {token!r} has the id {number!r}; a whole number from 0 is expected.", file=path)
        if number in owner:
            raise DataError(f"the tokens {owner[number]!r} and {token!r} share the id {number}.", file=path)
        owner[number] = token


def open_folder(folder: Path) -> Parts:
    """The tokenizer of an artifact, of a Hugging Face folder with tokenizer.json, or of one such file. Errors: DataError."""
    path = folder / FILE if folder.is_dir() else folder
    if not path.is_file():
        raise DataError(f"it has no {FILE}.", file=folder)
    content = open_json(path)
    if not isinstance(content, dict) or not isinstance(content.get("model"), dict):
        raise DataError("it has no 'model'; a tokenizer in Hugging Face's format is expected.", file=path)
    vocabulary = content["model"].get("vocab")
    if isinstance(vocabulary, dict):
        check_ids(vocabulary, path)
    elif isinstance(vocabulary, list):
        seen: set[str] = set()
        for entry in vocabulary:
            if not (isinstance(entry, list) and len(entry) == 2 and isinstance(entry[0], str)):
                raise DataError(f"the entry {entry!r} of the vocabulary is no pair of token and score.", file=path)
            if entry[0] in seen:
                raise DataError(f"the token {entry[0]!r} stands twice in the vocabulary.", file=path)
            seen.add(entry[0])
    encoder = from_content(content, file=path)
    special = [token["content"] for token in content.get("added_tokens") or [] if token.get("special")]
    config_path = path.with_name(CONFIG)
    # a file of another name has no configuration of its own beside it
    if path.name != FILE or not config_path.is_file():
        return Parts(encoder, guess_roles(special))
    config = open_json(config_path)
    if not isinstance(config, dict):
        raise DataError("a JSON object is expected.", file=config_path)
    roles: dict[str, str] = {}
    for role in ROLES:
        token = config.get(f"{role}_token")
        token = token.get("content") if isinstance(token, dict) else token
        if isinstance(token, str):
            if encoder.token_to_id(token) is None:
                raise DataError(f"its {role}_token is {token!r}, which the vocabulary lacks.", file=config_path)
            roles[role] = token
    kept = {key: config[key] for key in _KEPT if key in config}
    return Parts(encoder, roles or guess_roles(special), config.get("padding_side") or "right", kept)


_KEPT = ("model_max_length", "clean_up_tokenization_spaces", "chat_template")
"""What a foreign configuration says beyond roles that changes how the tokenizer is used."""
