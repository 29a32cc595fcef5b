"""The search: Optuna suggests runs, the run store holds the results. Only this package imports optuna."""
