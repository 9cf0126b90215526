"""Nets: a batch of clips -> logits [B K].

Every net is built with `num_classes` and `sample_shape` (one clip, without the batch), and ignores what it does not
need.
"""
