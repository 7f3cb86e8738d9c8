# Installs the book's module where it is missing, as in Colab. What is there stays.
import importlib.util
import os
import subprocess
import sys

repository = ""  # @param {type:"string"}

if importlib.util.find_spec("companion") is None:
    source = os.environ.get("COMPANION_SOURCE") or (repository and f"git+{repository.strip()}")
    assert source, (
        "Write the address of the book's repository, such as https://github.com/OWNER/NAME, "
        "into the field 'repository' of this cell, and run it again."
    )
    subprocess.run([sys.executable, "-m", "pip", "install", "-q", source], check=True)
    importlib.invalidate_caches()
