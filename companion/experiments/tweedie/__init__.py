"""Experiments of chapter 2: the clean from the noisy (Daras et al. 2024)."""
