"""Text, as FNet's own experiment reads it: corpora and tokenizers, what a net is pre-trained on, and what it then does.

An example of N tokens is `[CLS] a [SEP] b [SEP]` or `[CLS] a [SEP]`, filled up with PAD (`tokens`).
"""
