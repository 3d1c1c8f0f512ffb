"""The text form of a radius, for messages, names of folders, tables and pages."""


def epsilon_text(epsilon: float) -> str:
    """A radius as text: `8/255` where it is 1 to 32 grey levels, else a decimal of six digits."""
    levels = round(255 * epsilon)
    is_integer = 1 <= levels <= 32 and abs(255 * epsilon - levels) < 1e-4
    return f"{levels}/255" if is_integer else f"{epsilon:.6g}"
