"""`python -m crackdet` is `crackdet`."""

from crackdet.cli.main import app

app()
