"""The source uses the words of `docs/glossary.md`: metaphors for its terms are rare."""

import re
from collections import Counter
from pathlib import Path

import faal

SOURCE = Path(faal.__file__).parent
GLOSSARY = Path(__file__).parents[1] / "docs" / "glossary.md"

METAPHOR = re.compile(
    r"\b(told|seen|sights?|looks?|looked|standing|stands?|fell|asks?|asked|answers?|answered)\b", flags=re.IGNORECASE
)
"""Words for which the glossary has a term: robust, misclassified, evaluate, prediction, logits."""

MOST = 40
"""Occurrences in the whole source, for the places where one of them is the right word."""


def test_the_source_uses_the_glossarys_words() -> None:
    found = {
        path.relative_to(SOURCE).as_posix(): len(METAPHOR.findall(path.read_text(encoding="utf-8")))
        for path in sorted(SOURCE.rglob("*.py"))
    }
    most = Counter({file: count for file, count in found.items() if count})
    assert most.total() <= MOST, f"{most.total()} occurrences: {most.most_common(20)}"


def test_the_glossary_is_a_table_of_distinct_terms() -> None:
    rows = [line for line in GLOSSARY.read_text(encoding="utf-8").splitlines() if line.startswith("| ")][2:]
    terms = [row.split("|")[1].strip() for row in rows]
    assert 20 <= len(terms) == len(set(terms))
    assert all(row.split("|")[2].strip() for row in rows)
    assert not METAPHOR.search(" ".join(rows))
