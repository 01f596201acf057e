"""GPT-2: decoder-only, learned positions, layer normalisation before each part.

Source: Radford et al. 2019, Language Models are Unsupervised Multitask Learners. What it is not: a fixed list of sizes; any depth
from 1 up works.

    septet pretrain --family gpt2 --depth 4 ...
"""

from __future__ import annotations

from typing import Any, ClassVar

from septet.nn.family import Dial, Family

__all__ = ["Gpt2"]


class Gpt2(Family):
    """Decoder-only, with tied embeddings."""

    tokens_like: ClassVar[str] = "gpt2"
    sees: ClassVar[str] = "the tokens before it"
    made_for: ClassVar[str] = "writing on; the classic to compare with"
    known: ClassVar[str] = "GPT-2 124M to 1.5B; GPT-3 is alike"

    dropout: float = 0.0
    """The share of values dropped in training; the paper has 0.1, which costs quality in runs of few passes."""

    def config(self, dial: Dial, tokenizer: Any) -> Any:
        """Return a GPT2Config."""
        from transformers import GPT2Config  # 2 s to import

        return GPT2Config(
            vocab_size=dial.vocabulary,
            n_positions=dial.context,
            n_embd=dial.width,
            n_layer=dial.depth,
            n_head=dial.heads,
            n_inner=dial.feed_forward,
            resid_pdrop=self.dropout,
            embd_pdrop=self.dropout,
            attn_pdrop=self.dropout,
            bos_token_id=tokenizer.bos_token_id,
            eos_token_id=tokenizer.eos_token_id,
            pad_token_id=tokenizer.pad_token_id,
        )
