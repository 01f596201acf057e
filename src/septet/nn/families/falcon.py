"""Falcon: decoder-only, rotary positions, attention and feed-forward side by side, one key and value for all heads.

Source: Almazrouei et al. 2023 (https://arxiv.org/abs/2311.16867), the form of Falcon-7B: multi-query attention (Shazeer 2019,
https://arxiv.org/abs/1911.02150) and parallel layers. What it is not: a fixed list of sizes; any depth from 1 up works.

    septet pretrain --family falcon --depth 4 ...
"""

from __future__ import annotations

from typing import Any, ClassVar

from septet.nn.family import Dial, Family

__all__ = ["Falcon"]


class Falcon(Family):
    """Decoder-only, with tied embeddings and multi-query attention."""

    tokens_like: ClassVar[str] = "falcon"
    sees: ClassVar[str] = "the tokens before it"
    made_for: ClassVar[str] = "writing on; a small cache for many readers"
    known: ClassVar[str] = "Falcon 7B, 40B, 180B"

    multi_query: bool = True
    """One key and one value for all heads; else each head has its own."""
    dropout: float = 0.0
    """The share of values dropped in training."""

    def matrices(self, depth: int, width: int, feed_forward: int) -> int:
        """Queries and the output are square; one key and one value serve all heads; two for the feed-forward part."""
        heads = self.sizes(depth, width)["heads"]
        keys = 2 * width * (width // heads if self.multi_query else width)
        return depth * (2 * width * width + keys + 2 * width * feed_forward)

    def config(self, dial: Dial, tokenizer: Any) -> Any:
        """Return a FalconConfig."""
        from transformers import FalconConfig  # 2 s to import

        return FalconConfig(
            vocab_size=dial.vocabulary,
            hidden_size=dial.width,
            num_hidden_layers=dial.depth,
            num_attention_heads=dial.heads,
            ffn_hidden_size=dial.feed_forward,
            max_position_embeddings=dial.context,
            multi_query=self.multi_query,
            parallel_attn=True,
            new_decoder_architecture=False,
            alibi=False,
            bias=False,
            hidden_dropout=self.dropout,
            attention_dropout=self.dropout,
            tie_word_embeddings=True,
            bos_token_id=tokenizer.bos_token_id,
            eos_token_id=tokenizer.eos_token_id,
            pad_token_id=tokenizer.pad_token_id,
        )
