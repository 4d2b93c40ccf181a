"""Compiles the C in this folder:  python compile.py [FOLDER]   where FOLDER is where it goes, by default the same.

Needs the package `ziglang`, a C compiler that comes as a wheel, and nothing else of Berth's: where the server runs
there is no compiler.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

_HERE = Path(__file__).parent
# For any processor of this architecture: the functions that need more say so themselves. Vectors are never passed, for
# every function that takes one is inlined.
_OPTIONS = ("-O3", "-mcpu=baseline", "-shared", "-fPIC", "-Wall", "-Wextra", "-Werror", "-Wno-psabi")
# What torch calls the instructions that a library is for.
_CAPABILITIES = ("AVX2", "AVX512")


def compile_into(folder: Path) -> int:
    """The compiler's exit code, after what it had to say."""
    for capability in _CAPABILITIES:
        command = [sys.executable, "-m", "ziglang", "cc", *_OPTIONS, f"-DBERTH_{capability}"]
        command += ["-o", str(folder / f"libberth-{capability.lower()}.so")]
        command += map(str, sorted(_HERE.glob("*.c")))
        code = subprocess.run(command).returncode  # noqa: S603 - this interpreter, with words of our own
        if code:
            return code
    return 0


if __name__ == "__main__":
    sys.exit(compile_into(Path(sys.argv[1]) if sys.argv[1:] else _HERE))
