"""Tokenizers: how a vocabulary is learnt, taken over, widened, stored and measured. The step `tokenizer` puts these together.

families: special tokens. sampling: what is learnt from. training: how. foreign and sentencepiece: other projects' files. widen: new
tokens for an old vocabulary. folder: the files of an artifact. report: what a tokenizer does to a text. Encoding a corpus is
`septet.data.encode`.

    septet tokenizer --help
"""
