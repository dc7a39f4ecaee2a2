"""Our transforms beside naive forms of them, our training loop beside timm's."""
