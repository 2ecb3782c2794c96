"""The stages of a run, one module each: `run(config, folder, shard, hooks)`; where the parts of the library meet."""
