"""A sweep or a run store, shown live."""
