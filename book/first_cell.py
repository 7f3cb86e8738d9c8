# Installs the book's module where it is missing, as in Colab. It touches nothing that is there.
import importlib.util
import os
import subprocess
import sys

if importlib.util.find_spec("companion") is None:
    repository = "{{ repository }}"
    source = "git+" + repository if "://" in repository else ""
    source = os.environ.get("COMPANION_SOURCE", source)
    if not source:
        raise ModuleNotFoundError(
            "companion is not installed: run 'pip install .' in a clone of the book's repository, "
            "or set COMPANION_SOURCE to a folder or an address that pip can install."
        )
    subprocess.run([sys.executable, "-m", "pip", "install", "-q", source], check=True)
    importlib.invalidate_caches()
