"""Experiments of chapter 8: a denoiser in front of a classifier."""
