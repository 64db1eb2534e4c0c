"""Where photographs come from: cheap listings of folders, COCO, tables and shards."""
