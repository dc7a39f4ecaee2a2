"""The first source's own net, its published log run again."""
