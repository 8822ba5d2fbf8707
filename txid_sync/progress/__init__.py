"""Where progress is kept: one adapter per file, all in the shape of base.ProgressStore."""
