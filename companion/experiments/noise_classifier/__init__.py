"""Experiments of chapter 3: the denoiser as a noise classifier (Wu et al. 2024)."""
