"""What mixers and nets raise."""


class MixerError(ValueError):
    """A mixer that does not exist, or that cannot be built or used as asked. The message is one line for the user."""


class UnsupportedSize(MixerError):
    """The mixer does not exist at this dim or size, by its definition."""
