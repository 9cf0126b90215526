"""Hints: what a teacher's features tell a student's, beside what its answers tell its answers.

A hint is a module (student's maps [B C T], a teacher's `Shown`, labels [B], events [B]) -> one number a sample [B],
made of (student's channels, teacher's channels). Teacher and student may differ in channels and in moments: what learns
with the student so that the two can be compared is thrown away with the hint.

Features say more than answers and never cross the wire: a hint is given where a host has both streams.
"""
