"""Experiments of chapter 4: denoising as projection (Permenter and Yuan 2024)."""
