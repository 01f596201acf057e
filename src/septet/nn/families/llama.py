"""Llama: decoder-only, rotary positions, RMS normalisation, gated feed-forward.

Source: Touvron et al. 2023 (https://arxiv.org/abs/2302.13971); the one dial follows nanochat's idea, with our own figures
(docs/guides/pretrain.md has the table and how they were chosen).

What it is not: a fixed list of sizes; any depth from 1 up works.

    septet pretrain --family llama --depth 4 ...
"""

from __future__ import annotations

from typing import Any

from septet.nn.family import Dial, Family

__all__ = ["Llama"]

HEAD_DIM = 64


class Llama(Family):
    """Decoder-only, with tied embeddings unless told otherwise."""

    tied: bool = True
    """Use one table for the embeddings and the vocabulary head; saves vocabulary x width parameters."""

    def dial(self, depth: int, *, vocabulary: int) -> Dial:
        """Width is 32 x depth; 1.5 training tokens for each parameter of the matrices; the rate falls with the width.

        Thin, because runs here are short: at equal time on two cores, width 128 at depth 4 beat 192 and 256, which see less text.
        """
        width = 32 * depth
        sizes = self.sizes(depth, width)
        matrices = depth * (4 * width * width + 3 * width * sizes["feed_forward"])
        return Dial(
            depth=depth,
            vocabulary=vocabulary,
            width=width,
            **sizes,
            context=256,
            learning_rate=min(0.01, 0.04 / depth),
            batch_tokens=256 * max(4, 2 * depth),
            tokens=matrices * 3 // 2,
        )

    def sizes(self, depth: int, width: int) -> dict[str, int]:
        """Heads of 64 dimensions; feed-forward 8/3 of the width, rounded up to 64."""
        return {"heads": max(1, width // HEAD_DIM), "feed_forward": 64 * -(-8 * width // (3 * 64))}

    def config(self, dial: Dial, tokenizer: Any) -> Any:
        """Return a LlamaConfig; weights are float32 until exported."""
        from transformers import LlamaConfig  # 2 s to import

        return LlamaConfig(
            vocab_size=dial.vocabulary,
            hidden_size=dial.width,
            intermediate_size=dial.feed_forward,
            num_hidden_layers=dial.depth,
            num_attention_heads=dial.heads,
            num_key_value_heads=dial.heads,
            max_position_embeddings=dial.context,
            tie_word_embeddings=self.tied,
            attention_bias=False,
            mlp_bias=False,
            bos_token_id=tokenizer.bos_token_id,
            eos_token_id=tokenizer.eos_token_id,
            pad_token_id=tokenizer.pad_token_id,
        )
