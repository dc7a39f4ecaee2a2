"""What nobody typed: profiles, the settings of others, and what searches chose."""
