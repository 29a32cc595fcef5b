"""`python -m crackdet` is `crackdet`."""

from crackdet.cli import app

app()
