"""Measurements of Stagecoach against hand-written Python and other YAML formats.

``tox run -e bench`` runs them all and writes docs/benchmarks.md; ``python -m benchmarks --help``
tells what else can be done. Nothing here is installed with the package.
"""
