"""When two names are one, but for the way in which they are written."""

import unicodedata


def caseless(text: str) -> str:
    """Equal for names that some file system takes for one: Unicode's canonical caseless match."""
    decomposed = unicodedata.normalize("NFD", text)
    return unicodedata.normalize("NFD", decomposed.casefold())
