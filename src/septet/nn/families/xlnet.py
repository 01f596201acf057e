"""XLNet: learns to predict each word from those before it in an order drawn anew, so that it reads both ways; two-stream attention.

Source: Yang et al. 2019 (https://arxiv.org/abs/1906.08237); relative positions as in Transformer-XL. The memory of earlier segments
is left out: rows hold whole documents. What it is not: limited in length by its positions; the context is what it was trained on.

    septet pretrain --family xlnet --depth 4 ...
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

from septet.nn.family import Dial, Family

if TYPE_CHECKING:
    from septet.nn.architecture import Architecture

__all__ = ["Xlnet"]


class Xlnet(Family):
    """Permuted, with tied embeddings."""

    architecture: ClassVar[Architecture] = "permuted"
    objective: ClassVar[str] = "permutation-lm"
    tokens_like: ClassVar[str] = "xlnet"
    sees: ClassVar[str] = "those before it in a drawn order"
    made_for: ClassVar[str] = "reading, and the likelihood of a text"
    known: ClassVar[str] = "XLNet base and large"

    dropout: float = 0.0
    """The share of values dropped in training; the paper has 0.1, which costs quality in runs of few passes."""

    def matrices(self, depth: int, width: int, feed_forward: int) -> int:
        """Five square matrices for attention (the fifth is for relative positions), and two."""
        return depth * (5 * width * width + 2 * width * feed_forward)

    def config(self, dial: Dial, tokenizer: Any) -> Any:
        """Return an XLNetConfig."""
        from transformers import XLNetConfig  # 2 s to import

        return XLNetConfig(
            vocab_size=dial.vocabulary,
            d_model=dial.width,
            n_layer=dial.depth,
            n_head=dial.heads,
            d_inner=dial.feed_forward,
            dropout=self.dropout,
            summary_last_dropout=self.dropout,
            mem_len=None,
            use_mems_eval=False,
            bos_token_id=tokenizer.bos_token_id,
            eos_token_id=tokenizer.eos_token_id,
            pad_token_id=tokenizer.pad_token_id,
        )
