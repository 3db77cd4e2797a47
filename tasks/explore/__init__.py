"""Explores an unknown table and writes a run file for it."""
