"""Time and cost of nets and mixers."""
