"""The runs of a store, ranked, compared and put into words, tables and files."""
