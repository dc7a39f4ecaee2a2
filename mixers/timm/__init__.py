"""Both ways into timm. Two files, of which one imports timm, which takes seconds, and the other waits until timm is."""
