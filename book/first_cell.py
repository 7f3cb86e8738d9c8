# Installs the book's module where it is missing, as in Colab. What is there stays.
import importlib.util
import os
import subprocess
import sys

if importlib.util.find_spec("companion") is None:
    source = os.environ.get("COMPANION_SOURCE", "git+{{ repository }}")
    assert os.path.exists(source) or "://" in source, "Set COMPANION_SOURCE to the book's address."
    subprocess.run([sys.executable, "-m", "pip", "install", "-q", source], check=True)
    importlib.invalidate_caches()
