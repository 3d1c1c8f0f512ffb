from dataclasses import fields
from typing import Any

import pytest

import faal
from faal.audit.settings import ATTACKS, AuditContext, AuditSettings
from faal.config import Threat
from faal.errors import InputError


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"block_size": 0}, "block_size is a whole number, at least 1, not 0"),
        ({"batch_size": -1}, "batch_size is a whole number, at least 1, not -1"),
        ({"limit": 0}, "limit is a whole number, at least 1, not 0"),
        ({"level": 95}, "between 0 and 1"),
        ({"engine": "refrence"}, "did you mean 'reference'"),
        ({"attacks": "pdg20"}, "did you mean 'pgd20'"),
        ({"norm": "l3"}, "norm 'l3'"),
        ({"epsilon": 8}, "did you mean 8/255"),
    ],
)
def test_settings_out_of_range(change: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        AuditSettings.of(**change)


def test_the_defaults_are_those_of_the_function() -> None:
    assert AuditSettings.of() == AuditSettings()
    defaults = faal.audit.audit.__kwdefaults__
    assert AuditSettings.of(**{name: defaults[name] for name in AuditSettings.of.__kwdefaults__}) == AuditSettings()
    context = {item.name: getattr(AuditContext(), item.name) for item in fields(AuditContext)}
    assert context.items() <= defaults.items()
    own = {item.name for item in fields(AuditSettings)} - {"threat"} | {"norm", "epsilon"}
    assert own | set(context) | {"local"} == set(defaults)


def test_text_becomes_values() -> None:
    settings = AuditSettings.of(attacks="clean, pgd5", epsilon="8/255", norm="l2", seed=3)
    assert [attack.name for attack in settings.attacks] == ["pgd5"]
    assert settings.threat == Threat("l2", 8 / 255)
    assert settings.seed == 3
    assert ATTACKS[0] == "clean"
