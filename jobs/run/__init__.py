"""What a run folder keeps about its jobs: config record, lock, ledger, code snapshot, progress, failures."""
