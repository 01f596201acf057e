"""A tiny model of every family, and a tokenizer of 64 tokens that has every special token; rows of random documents."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

from septet.core import registry
from septet.data.packing import Row, pack, text_sample
from septet.nn.family import Family
from septet.nn.model import Model
from septet.train.objective import Objective

torch.set_num_threads(1)

FAMILIES = registry.names(Family.drawer)
SPECIAL = {"pad": 0, "eos": 1, "bos": 2, "cls": 3, "sep": 4, "mask": 5, "unk": 6}
SENTINELS = 16
VOCABULARY, CONTEXT = 64, 48
WORDS = VOCABULARY - SENTINELS


class Toy:
    """Tokens 0 to 6 are special, 48 to 63 sentinels; of the others every fifth ends a sentence, every third goes on with a word."""

    model_max_length = CONTEXT

    def __init__(self, **without: None) -> None:
        for role, id in SPECIAL.items():
            setattr(self, f"{role}_token_id", without.get(role, id))
        self.all_special_ids = list(SPECIAL.values())

    def __len__(self) -> int:
        return VOCABULARY

    def get_vocab(self) -> dict[str, int]:
        return {token: id for id, token in enumerate(self.convert_ids_to_tokens(range(VOCABULARY)))}

    @property
    def added_tokens_decoder(self) -> dict[int, str]:
        return {WORDS + number: f"<extra_id_{number}>" for number in range(SENTINELS)}

    def convert_ids_to_tokens(self, ids: Any) -> list[str]:
        return [self._token(id) for id in ids]

    def _token(self, id: int) -> str:
        if id >= WORDS:
            return f"<extra_id_{id - WORDS}>"
        if id in SPECIAL.values():
            return f"<{id}>"
        return f"{'##' if id % 3 == 0 else ''}w{id}{'.' if id % 5 == 0 else ''}"


def tokenizer_for(family: str) -> Toy:
    """T5's tokenizer has no token that begins a text; the others have all."""
    return Toy(bos=None) if family == "t5" else Toy()


def tiny(family: str, *, objective: Objective | None = None, seed: int = 0, dropout: float = 0.0) -> Model:
    """A model of two layers and width 32, float32, weights drawn from the seed."""
    cls = registry.find(Family.drawer, family, family=Family)
    made = cls(**({"dropout": dropout} if "dropout" in cls.model_fields else {}))
    tokenizer = tokenizer_for(family)
    dial = made.dial(1, vocabulary=VOCABULARY).with_(depth=2, width=32, heads=2, feed_forward=64, context=CONTEXT)
    torch.manual_seed(seed)
    return Model(made.build(made.config(dial, tokenizer), pairs=objective is not None and objective.pairs), tokenizer)


def texts(count: int, *, seed: int = 0, longest: int = 30) -> list[np.ndarray]:
    """Random texts of 1 to `longest` ordinary tokens."""
    rng = np.random.default_rng(seed)
    return [rng.integers(7, WORDS, int(rng.integers(1, longest + 1))).astype(np.int32) for _ in range(count)]


def rows_of(documents: list[np.ndarray], context: int = CONTEXT - 3) -> list[Row]:
    return pack([text_sample(text.tolist(), separator=1) for text in documents], context, pad=0)[0]


def rows_for(objective: Objective, count: int = 24, *, seed: int = 0) -> list[Any]:
    """Packed rows; with partners where the objective wants them."""
    rows = rows_of(texts(count, seed=seed))
    return list(zip(rows, rows[1:] + rows[:1], strict=True)) if objective.partners else rows


def objectives(family: str) -> list[Objective]:
    """One of every pre-training objective that fits a family."""
    made = registry.find(Family.drawer, family, family=Family)
    found = []
    for name in registry.names(Objective.drawer):
        cls = registry.find(Objective.drawer, name, family=Objective)
        if (family, name) == ("t5", "denoising"):
            continue  # its tokenizer has no token that begins a text
        if cls.learns_from == "text" and made.architecture in cls.fits and made.judges_pairs >= cls.pairs:
            found.append(cls().suited(made.architecture))
    return found


def cases() -> list[Any]:
    """(family, objective) for everything that can be trained."""
    return [(family, objective) for family in FAMILIES for objective in objectives(family)]
