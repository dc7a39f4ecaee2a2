"""Which method of a mixer is the fastest from how many tokens on."""
