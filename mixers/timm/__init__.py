"""Both ways into timm."""
