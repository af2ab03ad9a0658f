"""Folders that are shown in two places: made once, in the work folder, and linked to where DVC looks for them."""

import os
import shutil
from pathlib import Path


def show(made: Path, target: Path) -> None:
    """Show a folder a second time as `target`, in place of what is there, without its bytes a second time.

    Across file systems, where no link can be, they are copied.
    """
    shutil.rmtree(target, ignore_errors=True)
    shutil.copytree(made, target, copy_function=_link_or_copy)


def keep(shown: Path, made: Path) -> bool:
    """Put a shown folder back to where it was made, if it is not there; whether it was put.

    DVC removes what a stage left before it runs the stage: what was pulled would be made again.
    """
    if made.is_dir() or not shown.is_dir():
        return False
    aside = made.with_name(f"{made.name}.partial")
    show(shown, aside)
    aside.rename(made)
    return True


def only_here(folder: Path) -> bool:
    """Whether neither a folder of the project nor DVC's cache shows the largest of a folder's files, too."""
    files = [file for file in folder.rglob("*") if file.is_file()]
    return not files or max((file.stat() for file in files), key=lambda stat: stat.st_size).st_nlink == 1


def bytes_of(folder: Path) -> int:
    """Bytes of all files in a folder."""
    return sum(file.stat().st_size for file in folder.rglob("*") if file.is_file())


def _link_or_copy(source: str, target: str) -> None:
    source = os.path.realpath(source)  # DVC may have put links of its own in the place of files
    try:
        os.link(source, target)
    except OSError:
        shutil.copyfile(source, target)
