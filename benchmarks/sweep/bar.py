"""The one line at the foot of a terminal: how far the whole is, how long it may still take, and what runs now."""

from __future__ import annotations

from tqdm import tqdm


class Bar:
    """Nothing where standard error is no terminal; gone when it is closed."""

    def __init__(self) -> None:
        look = "{percentage:3.0f}%|{bar:10}| {desc}"
        self._bar = tqdm(total=1.0, bar_format=look, disable=None, leave=False, dynamic_ncols=True)

    @property
    def is_shown(self) -> bool:
        return not self._bar.disable

    def show(self, share: float, words: str) -> None:
        """Shows how much is done, from 0 to 1, and words that are cut where the line ends."""
        if self.is_shown:
            self._bar.n = min(1.0, share)
            self._bar.set_description_str(words)

    def close(self) -> None:
        self._bar.close()
