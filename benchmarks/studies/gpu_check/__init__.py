"""The first minutes on a GPU: does everything work here, and how fast is the card?"""
