"""Special tokens by family: their text, their order, their roles, and what is put around a text.

Sources: the published tokenizers of BERT, RoBERTa, XLNet, GPT-2, Llama, Falcon, T5 and BART (transformers' classes of these names).
What it is not: a vocabulary; a family says nothing about how the ordinary tokens are found.

    python -c "from septet.data.tokenizers.families import FAMILIES; print(FAMILIES['bert'])"
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING, Literal, get_args

from septet.data.special import END_OF_TEXT, PAD, RESERVED

if TYPE_CHECKING:
    from tokenizers import Tokenizer

__all__ = ["FAMILIES", "ROLES", "Family", "FamilyName", "guess_roles", "surround"]

FamilyName = Literal["none", "bert", "roberta", "xlnet", "gpt2", "llama", "falcon", "t5", "bart"]
ROLES = ("bos", "eos", "unk", "sep", "pad", "cls", "mask")


@dataclass(frozen=True, slots=True)
class Family:
    """first: the special tokens with the lowest ids, in order. last: those after the ordinary tokens. roles: role -> token.

    around: (one text, two texts) in the notation of tokenizers' TemplateProcessing, or None where nothing is added.
    """

    first: tuple[str, ...]
    roles: Mapping[str, str]
    last: tuple[str, ...] = ()
    around: tuple[str, str] | None = None
    padding_side: str = "right"

    @property
    def tokens(self) -> tuple[str, ...]:
        return self.first + self.last


def _roles(**roles: str) -> Mapping[str, str]:
    return MappingProxyType(roles)


_ROBERTA = Family(
    ("<s>", "<pad>", "</s>", "<unk>", "<mask>"),
    _roles(bos="<s>", eos="</s>", unk="<unk>", sep="</s>", pad="<pad>", cls="<s>", mask="<mask>"),
    around=("<s> $A </s>", "<s> $A </s> </s> $B </s>"),
)

FAMILIES: Mapping[str, Family] = MappingProxyType(
    {
        "none": Family(RESERVED, _roles(bos=END_OF_TEXT, eos=END_OF_TEXT, pad=PAD)),
        "bert": Family(
            ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"),
            _roles(unk="[UNK]", sep="[SEP]", pad="[PAD]", cls="[CLS]", mask="[MASK]"),
            around=("[CLS] $A [SEP]", "[CLS] $A [SEP] $B:1 [SEP]:1"),
        ),
        "roberta": _ROBERTA,
        "xlnet": Family(
            ("<unk>", "<s>", "</s>", "<cls>", "<sep>", "<pad>", "<mask>", "<eod>", "<eop>"),
            _roles(bos="<s>", eos="</s>", unk="<unk>", sep="<sep>", pad="<pad>", cls="<cls>", mask="<mask>"),
            around=("$A <sep> <cls>:2", "$A <sep> $B:1 <sep>:1 <cls>:2"),
            padding_side="left",
        ),
        "gpt2": Family((END_OF_TEXT,), _roles(bos=END_OF_TEXT, eos=END_OF_TEXT, unk=END_OF_TEXT)),
        "llama": Family(
            ("<unk>", "<s>", "</s>"),
            _roles(bos="<s>", eos="</s>", unk="<unk>"),
            around=("<s> $A", "<s> $A <s>:1 $B:1"),
        ),
        "falcon": Family(
            (
                *(f">>{name}<<" for name in ("TITLE", "ABSTRACT", "INTRODUCTION", "SUMMARY", "COMMENT", "ANSWER")),
                *(f">>{name}<<" for name in ("QUESTION", "DOMAIN", "PREFIX", "SUFFIX", "MIDDLE")),
                END_OF_TEXT,
            ),
            _roles(eos=END_OF_TEXT),
        ),
        "t5": Family(
            ("<pad>", "</s>", "<unk>"),
            _roles(eos="</s>", unk="<unk>", pad="<pad>"),
            # the first sentinel has the highest id, as in the published vocabulary
            last=tuple(f"<extra_id_{number}>" for number in range(99, -1, -1)),
            around=("$A </s>", "$A </s> $B </s>"),
        ),
        "bart": _ROBERTA,
    }
)
assert set(FAMILIES) == set(get_args(FamilyName))


def surround(encoder: Tokenizer, family: Family) -> None:
    """Make the encoder put the family's tokens around a text; a family that adds none leaves it as it is."""
    if family.around is None:
        return
    from tokenizers import processors  # 0.1 s; the command line does without

    single, pair = family.around
    needed = sorted({part.split(":")[0] for part in f"{single} {pair}".split() if not part.startswith("$")})
    ids = [(token, encoder.token_to_id(token)) for token in needed]
    encoder.post_processor = processors.TemplateProcessing(single=single, pair=pair, special_tokens=ids)


_KNOWN: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        "bos": ("<s>", "<|begin_of_text|>", "<bos>", "<|startoftext|>", END_OF_TEXT),
        "eos": ("</s>", "<|end_of_text|>", "<eos>", END_OF_TEXT, "<|im_end|>"),
        "unk": ("<unk>", "[UNK]"),
        "sep": ("[SEP]", "<sep>"),
        "pad": ("<pad>", "[PAD]", PAD, "<|padding|>", "<|finetune_right_pad_id|>"),
        "cls": ("[CLS]", "<cls>"),
        "mask": ("<mask>", "[MASK]"),
    }
)


def guess_roles(special: Collection[str]) -> dict[str, str]:
    """Return role -> token for special tokens with the names that published tokenizers use; the first name known wins."""
    present = set(special)
    return {role: next(n for n in known if n in present) for role, known in _KNOWN.items() if present & set(known)}
