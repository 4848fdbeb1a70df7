"""What every model needs and no model owns: the game, the engine, checkpoints, seeds, the run's log."""
