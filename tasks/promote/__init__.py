"""Challenger against champion: gates, proof, ledger."""
