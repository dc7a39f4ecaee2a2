"""The nets that hold a mixer: MixerNet, TextEncoder, Spectracles, and what they are made of."""
