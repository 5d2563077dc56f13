"""Discriminative models under the same data and evaluators."""
