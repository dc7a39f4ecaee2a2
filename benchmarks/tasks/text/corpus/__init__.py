"""Text on the way to tokens: corpora, tokenizers, passages, and what frequencies alone tell."""
