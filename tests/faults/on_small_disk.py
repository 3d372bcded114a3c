"""Mount a small tmpfs and become another program: `on_small_disk.py FOLDER SIZE PROGRAM ...`.

Run in a mount namespace of its own: see `disk.small_disk`.
"""

import os
import subprocess
import sys


def main() -> None:
    """Mount, then exec."""
    folder, size, *command = sys.argv[1:]
    options = f"size={size},mode=0700"
    subprocess.run(["mount", "-t", "tmpfs", "-o", options, "none", folder], check=True)  # noqa: S607
    os.execvp(command[0], command)  # noqa: S606 - the command of a test


if __name__ == "__main__":
    main()
