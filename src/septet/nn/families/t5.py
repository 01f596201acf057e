"""T5: an encoder reads, a decoder writes; every task is text in and text out; trained to fill in spans that were cut out.

Source: Raffel et al. 2020 (https://arxiv.org/abs/1910.10683). Depth is that of the encoder, and of the decoder too. What it is not:
limited in length by its positions, which are relative.

    septet pretrain --family t5 --depth 4 ...
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

from septet.nn.family import Dial, Family

if TYPE_CHECKING:
    from septet.nn.architecture import Architecture

__all__ = ["T5"]


class T5(Family):
    """Encoder-decoder, with tied embeddings and relative positions."""

    architecture: ClassVar[Architecture] = "encoder-decoder"
    objective: ClassVar[str] = "span-corruption"
    tokens_like: ClassVar[str] = "t5"
    sees: ClassVar[str] = "source: all; target: all it has written"
    made_for: ClassVar[str] = "text to text: translation, summaries, answers"
    known: ClassVar[str] = "T5 small to 11B, mT5, FLAN-T5"

    gated: bool = False
    """A gated feed-forward part (T5 1.1) in place of one with ReLU."""
    dropout: float = 0.0
    """The share of values dropped in training; T5 1.1 was pre-trained without."""

    def matrices(self, depth: int, width: int, feed_forward: int) -> int:
        """The encoder has four square matrices a layer, the decoder eight; both a feed-forward part."""
        return depth * (12 * width * width + 2 * (3 if self.gated else 2) * width * feed_forward)

    def config(self, dial: Dial, tokenizer: Any) -> Any:
        """Return a T5Config; the decoder begins with the padding token, as published."""
        from transformers import T5Config  # 2 s to import

        return T5Config(
            vocab_size=dial.vocabulary,
            d_model=dial.width,
            d_kv=dial.width // dial.heads,
            d_ff=dial.feed_forward,
            num_layers=dial.depth,
            num_heads=dial.heads,
            feed_forward_proj="gated-gelu" if self.gated else "relu",
            dropout_rate=self.dropout,
            eos_token_id=tokenizer.eos_token_id,
            pad_token_id=tokenizer.pad_token_id,
            n_positions=dial.context,  # pyright: ignore[reportCallIssue] -- any name is kept
            decoder_start_token_id=tokenizer.pad_token_id,  # pyright: ignore[reportCallIssue]
        )
