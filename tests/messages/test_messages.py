"""The wording of refusals: a situation, and the whole sentence that a user reads, for each part of the program.

The other tests hold what is refused, before which work, and that the message names the file, the option or the value.
They do not repeat the sentence, so that another wording changes a line here and no other file.
"""

from collections.abc import Callable
from pathlib import Path

import pytest
from tests.messages import audits, data, folders, models, training

from faal.errors import InputError

REFUSALS = audits.REFUSALS | data.REFUSALS | folders.REFUSALS | models.REFUSALS | training.REFUSALS


@pytest.mark.parametrize(("sentence", "situation"), REFUSALS.items(), ids=[sentence[:40] for sentence in REFUSALS])
def test_a_refusal_is_this_sentence(sentence: str, situation: Callable[[], object], work: Path) -> None:
    with pytest.raises(InputError) as caught:
        situation()
    assert str(caught.value).replace(f"{work}/", "") == sentence
