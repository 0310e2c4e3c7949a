"""Automatic work: jobs and due checks, counted attempts, live runs, and backtests."""
