"""The way from flat pictures to masks and layers."""
