"""Experiments of chapter 1: extra noise in training (Ning et al. 2023)."""
