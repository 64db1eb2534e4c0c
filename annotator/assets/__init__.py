"""Pictures to learn from: packages fetched, cut-outs and backdrops chosen from them by eye."""
