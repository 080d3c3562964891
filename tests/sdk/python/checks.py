"""The list of checks."""

from collections.abc import Callable

CHECKS: dict[str, Callable[[], None]] = {}


def check(*behaviours: int) -> Callable[[Callable[[], None]], Callable[[], None]]:
    """Makes a function a check.

    `behaviours` are the numbers of those that it holds in place; the page on
    parity reads them off the source.
    """
    del behaviours

    def register(function: Callable[[], None]) -> Callable[[], None]:
        CHECKS[f"{function.__module__}::{function.__name__}"] = function
        return function

    return register
