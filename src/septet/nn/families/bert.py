"""BERT: encoder-only, learned positions, two segments, trained to fill in masked words and to judge pairs of sentences.

Source: Devlin et al. 2019 (https://arxiv.org/abs/1810.04805). What it is not: a writer; it reads a whole text at once.

    septet pretrain --family bert --depth 4 ...
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

from septet.nn.family import Dial, Family

if TYPE_CHECKING:
    from septet.nn.architecture import Architecture

__all__ = ["Bert"]


class Bert(Family):
    """Encoder-only, with tied embeddings."""

    architecture: ClassVar[Architecture] = "encoder"
    objective: ClassVar[str] = "next-sentence"
    tokens_like: ClassVar[str] = "bert"
    judges_pairs: ClassVar[bool] = True
    sees: ClassVar[str] = "all tokens, those before and after it"
    made_for: ClassVar[str] = "reading: classes, entities, answers in a text, search"
    known: ClassVar[str] = "BERT base and large, DistilBERT, MiniLM, SciBERT"

    dropout: float = 0.0
    """The share of values dropped in training; the paper has 0.1, which costs quality in runs of few passes."""

    def config(self, dial: Dial, tokenizer: Any) -> Any:
        """Return a BertConfig."""
        from transformers import BertConfig  # 2 s to import

        return BertConfig(
            vocab_size=dial.vocabulary,
            hidden_size=dial.width,
            num_hidden_layers=dial.depth,
            num_attention_heads=dial.heads,
            intermediate_size=dial.feed_forward,
            max_position_embeddings=dial.context,
            hidden_dropout_prob=self.dropout,
            attention_probs_dropout_prob=self.dropout,
            pad_token_id=tokenizer.pad_token_id,
        )
