"""Control by masks, relation between layers, and learning."""
