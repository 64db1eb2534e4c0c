"""Learning: one LightningModule for each stage."""
