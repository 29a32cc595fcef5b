"""Rank, compare and summarise the runs of a store."""
