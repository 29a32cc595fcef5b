"""Files, locks, console, errors, signals and the machine: helpers that know nothing of runs."""
