"""What happens without a person: jobs and what is due, tries that are counted, live runs, and backtests."""
