"""What a training keeps between steps: state, checkpoints, and the moving average."""
