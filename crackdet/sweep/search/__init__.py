"""The search: Optuna suggests runs, and the run store answers. Only this package imports optuna."""
