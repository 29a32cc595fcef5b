"""`python -m crackdet` is `crackdet`."""

from crackdet.core.startup import prepare_process

if __name__ == "__main__":
    prepare_process()  # first: the import of the commands takes time
    from crackdet.cli.main import app

    app()
