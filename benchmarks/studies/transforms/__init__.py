"""What makes a transform mix well? Fixed matrices over the tokens, trained alike, and what predicts their accuracy."""
