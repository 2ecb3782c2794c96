"""Everything a run keeps on disk: shards, manifests, result rows. Never imports torch."""
