"""Files, locks, the console, errors and the machine: helpers that know nothing of runs."""
