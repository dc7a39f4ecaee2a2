"""What each mixer does: how far and how evenly one token's change spreads over the others."""
