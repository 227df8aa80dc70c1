"""Evaluation: the automatic quality gate and judgements by people."""
