"""The shape of the package: what ARCHITECTURE.md says, sizes, the walls that import-linter holds, and who imports what."""

import ast
import configparser
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from importlinter.application.use_cases import create_report, read_user_options
from importlinter.cli import lint_imports
from support.synthetic import make_study

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "src" / "embedshift"
FILES = {path.relative_to(PACKAGE).as_posix(): path for path in sorted(PACKAGE.rglob("*.py"))}
TREES = {name: ast.parse(path.read_text()) for name, path in FILES.items()}
QUESTIONS = sorted(path.name for path in (PACKAGE / "questions").iterdir() if (path / "__init__.py").is_file())
