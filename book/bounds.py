"""Try the module with other packages than the pinned ones, in environments of their own.

``python book/bounds.py lowest``: with the oldest that pyproject.toml allows; ``newest``: with the
newest that there are; ``packages [FOLDER]``: with the pinned ones, from the wheel and then from the
sdist. The tests of the core run against what was installed. It needs a bare Python and a package
index; without a FOLDER that has them, ``packages`` builds the sdist and the wheel first.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
CORE = (
    "checkpoint checks contrastive conventions data denoiser_wrappers denoisers diffusers "
    "extra_noise generator learned metrics multistep noise oracles plotting samplers stack "
    "statistics training tweedie"
)
"""The tests of what a researcher lifts out: no experiment, no chapter, no site."""
TOOLS = ("pytest", "hypothesis", "smalldiffusion", "hatchling", "pip")
CHOICES = {
    "lowest": ("--resolution", "lowest-direct"),
    "newest": ("--resolution", "highest"),
    "packages": ("--constraint", "constraints.txt"),
}


def main(which: str, folder: Path | None = None) -> None:
    """Make the environment, install the module, and run the tests.

    Raises
    ------
    SystemExit
        If anything of that fails.
    """
    work = ROOT / "_build" / "bounds" / f"{which}-{sys.version_info[0]}.{sys.version_info[1]}"
    shutil.rmtree(work, ignore_errors=True)
    python = environment(work, which)
    tests = work / "tests"  # elsewhere, so that they find what is installed and not the sources
    tests.mkdir()
    for name in ["conftest.py", *(f"test_{name}.py" for name in CORE.split())]:
        shutil.copy(ROOT / "tests" / name, tests)
    if which == "packages" and folder:
        files = sorted(folder.resolve().glob("noise_on_purpose-*"))
    else:
        run(python, "-m", "hatchling", "build", "-d", work / "dist")
        files = sorted((work / "dist").iterdir())
    if [path.suffix for path in files] != [".whl", ".gz"]:
        raise SystemExit(f"{folder or work / 'dist'} has not one sdist and one wheel")
    for path in files if which == "packages" else files[:1]:
        print(f"{path.name}, Python {sys.version.split()[0]}", flush=True)
        install = ("-m", "pip", "install", "-q", "--no-deps", "--force-reinstall")
        run(python, *install, "--no-build-isolation", path)
        whole = ("-c", f"from pathlib import Path as P; import companion as c; assert {WHOLE}")
        run(python, *whole, cwd=work)
        run(python.with_name("companion"), "list", cwd=work)
    run(python, "-m", "pytest", "-q", "-p", "no:cacheprovider", tests, cwd=work)


WHOLE = "P(c.__file__).with_name('_results').is_dir() and 'site-packages' in c.__file__"
"""What holds of the module where it is installed."""


def environment(work: Path, which: str) -> Path:
    """Make an environment with the packages that the module needs; return its Python."""
    run(sys.executable, "-m", "venv", work / "uv")
    run(work / "uv" / "bin" / "python", "-m", "pip", "install", "-q", "uv")
    uv, python = work / "uv" / "bin" / "uv", work / "venv" / "bin" / "python"
    run(uv, "venv", "-q", "--python", sys.executable, work / "venv")
    found = work / "found.txt"
    # Wheels only, as an old sdist may no longer build; and no other bound than the declared ones.
    how = ("--only-binary", ":all:", "--no-header", "--no-annotate", "--no-config", "-q")
    asked = ("pyproject.toml", "--extra", "images", "--python", python, "-o", found)
    run(uv, "pip", "compile", *how, *CHOICES[which], *asked)
    run(uv, "pip", "install", "-q", "--python", python, "-r", found, "-c", found, *TOOLS)
    print(found.read_text(encoding="utf-8"), flush=True)
    return python


def run(*command: object, cwd: Path = ROOT) -> None:
    """Run a command without the sources of the module in its path; its failure is ours."""
    variables = {name: text for name, text in os.environ.items() if name != "PYTHONPATH"}
    done = subprocess.run([str(part) for part in command], cwd=cwd, env=variables)
    if done.returncode:
        raise SystemExit(f"failed: {' '.join(map(str, command))}")


if __name__ == "__main__":
    if len(sys.argv) < 2 or sys.argv[1] not in CHOICES:
        raise SystemExit(__doc__)
    main(sys.argv[1], Path(sys.argv[2]) if len(sys.argv) > 2 else None)
