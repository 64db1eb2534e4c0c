"""Document <-> file: PSD, OpenRaster, folders of PNG."""
