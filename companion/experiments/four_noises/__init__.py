"""Experiments of chapter 5: four uses of noise on the same network, data, compute and seeds."""
