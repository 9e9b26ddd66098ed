"""Words put together, in any language."""


def joined(*parts: str) -> str:
    """The parts that are not empty, with spaces between."""
    return " ".join(part for part in parts if part)


def capitalized(text: str) -> str:
    """The text with its first letter as a capital; a mark may stand before it."""
    first = next(i for i, letter in enumerate(text) if letter.isalpha())
    return text[:first] + text[first].upper() + text[first + 1 :]
