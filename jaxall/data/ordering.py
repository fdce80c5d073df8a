"""The order in which people count: 2 before 10."""

import re


def natural(text: str) -> tuple:
    """A key that sorts "2" before "10", and upper and lower case together."""
    parts: list = re.split(r"(\d+)", text.lower(), flags=re.ASCII)
    parts[1::2] = [(len(digits.lstrip("0")), digits.lstrip("0")) for digits in parts[1::2]]
    return parts, text
