"""Sanitising of text from files for the page."""


def clean_text(text: str) -> str:
    """Text that is valid in UTF-8 files and XML: control characters and lone surrogates become U+FFFD."""
    valid = text.encode("utf-8", "replace").decode("utf-8")
    return "".join(c if c.isprintable() or c in " \n\t\u00a0" else "\ufffd" for c in valid)
