"""Layered diffusion model: what is true of any stack of RGBA layers."""
