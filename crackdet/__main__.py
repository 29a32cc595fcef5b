"""`python -m crackdet` is `crackdet`."""

from crackdet.core.interrupts import exit_on_interrupt

if __name__ == "__main__":
    exit_on_interrupt()  # before the other imports, which take time
    from crackdet.core.startup import prepare_process

    prepare_process()
    from crackdet.cli.main import app

    app()
