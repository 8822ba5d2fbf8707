"""Where changes come from: one adapter per file, all in the shape of base.Source."""
