"""Files of a run folder about its jobs: config record, lock, ledger, code snapshot, progress, failures."""
