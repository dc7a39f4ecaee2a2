"""Our mixers beside public implementations, as ratios within one run."""
