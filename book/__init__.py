"""How the book is built, one file a job; ``python -m book`` runs each. The Makefile says when."""
