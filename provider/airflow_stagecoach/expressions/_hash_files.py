"""``hashFiles``: one SHA-256 over the contents of the files that match."""

from __future__ import annotations

import hashlib
import os
import re
from typing import Iterator

from airflow_stagecoach.expressions._errors import ExpressionError

#: Most files that are looked at below the base folder.
_MAX_FILES = 50_000

_GLOB = re.compile(r"\*\*/|\*\*|\*|\?|\[[^\]/]+\]|.", re.DOTALL)


def hash_files(patterns: list[str], base: str | None) -> str:
    """Give the hex SHA-256 of all files below ``base`` that match, or ``''`` when none does.

    As on GitHub it is the hash of the files' own hashes, in the order of their paths. Folders that are
    symbolic links are not entered.

    :param patterns: globs relative to ``base``; ``**`` matches folders, a leading ``!`` leaves files out
    :param base: the folder, or None for the current one
    :raises ExpressionError: a pattern is wrong or leads out of ``base``, there are too many files, or one
        cannot be read
    """
    wanted = [_compile(pattern) for pattern in patterns if not pattern.startswith("!")]
    unwanted = [_compile(pattern[1:]) for pattern in patterns if pattern.startswith("!")]
    root = base or os.getcwd()
    total = hashlib.sha256()
    found = False
    for path in sorted(_files(root)):
        if not any(glob.match(path) for glob in wanted) or any(glob.match(path) for glob in unwanted):
            continue
        found = True
        total.update(_hash_file(os.path.join(root, path)))
    return total.hexdigest() if found else ""


def _compile(pattern: str) -> re.Pattern[str]:
    """Give the regular expression of a glob; it matches paths with ``/``, relative to the base folder."""
    parts = pattern.replace("\\", "/").split("/")
    if pattern.startswith(("/", "~")) or ".." in parts or (parts[0] and parts[0].endswith(":")):
        raise ExpressionError(
            "hashFiles() only reads files below its base folder",
            hint="write a path relative to it, without '..'",
        )
    expression = ""
    for match in _GLOB.finditer("/".join(part for part in parts if part != ".")):
        piece = match.group()
        if piece == "**/":
            expression += "(?:[^/]+/)*"
        elif piece == "**":
            expression += ".*"
        elif piece == "*":
            expression += "[^/]*"
        elif piece == "?":
            expression += "[^/]"
        elif len(piece) > 1:
            inner = re.escape(piece[1:-1].lstrip("!")).replace("\\-", "-")
            expression += "[" + ("^" if piece[1] == "!" else "") + inner + "]"
        else:
            expression += re.escape(piece)
    try:
        return re.compile(expression + r"\Z", re.DOTALL)
    except re.error:
        raise ExpressionError("hashFiles() cannot use '{}'".format(pattern), hint="as in: [a-z]") from None


def _files(root: str) -> Iterator[str]:
    """Give the paths of all files below ``root``, relative to it, with ``/``."""
    count = 0
    for folder, _, names in os.walk(root):
        count += len(names)
        if count > _MAX_FILES:
            raise ExpressionError("hashFiles() looked at more than {} files".format(_MAX_FILES))
        relative = os.path.relpath(folder, root).replace(os.sep, "/")
        prefix = "" if relative == "." else relative + "/"
        for name in names:
            yield prefix + name


def _hash_file(path: str) -> bytes:
    digest = hashlib.sha256()
    try:
        with open(path, "rb") as file:
            for block in iter(lambda: file.read(1 << 20), b""):
                digest.update(block)
    except OSError as error:
        raise ExpressionError("hashFiles() cannot read a file: {}".format(error)) from None
    return digest.digest()
