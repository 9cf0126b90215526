"""Distillation losses: (student_logits [B K], target_probs [B K]) -> one number a sample [B], in nats.

Targets are probabilities at temperature 1 and carry no gradient; they may hold exact zeros and ones.
"""
