"""What things are: geometry, volumes, prompts, metrics, progress and errors; numpy and scipy only."""
