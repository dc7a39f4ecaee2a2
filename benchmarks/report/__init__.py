"""Records -> tables -> plots -> report. Nothing here measures; the same records make the same files byte for byte."""
