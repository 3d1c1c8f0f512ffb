import pytest

from faal.audit.attacks.autoattack import StandardEnsemble
from faal.audit.attacks.gradient import GradientAttack
from faal.audit.attacks.registry import attack_named, attacks_named
from faal.errors import InputError


def test_names_give_loss_and_steps() -> None:
    assert attack_named("pgd20") == GradientAttack("pgd20", loss="ce", steps=20)
    assert attack_named("cw100") == GradientAttack("cw100", loss="cw", steps=100)
    assert attack_named("autoattack") == StandardEnsemble()


def test_clean_and_repeats_are_left_out_and_order_is_kept() -> None:
    assert [attack.name for attack in attacks_named(["cw20", "clean", "pgd20", "cw20"])] == ["cw20", "pgd20"]
    assert attacks_named("cw20, pgd20,clean") == attacks_named(["cw20", "pgd20"])
    assert attacks_named("clean") == ()


@pytest.mark.parametrize("name", ["pdg20", "pgd", "pgd0", "cw-20", "", "all", "../pgd20", "autoatack"])
def test_an_unknown_name_is_refused(name: str) -> None:
    with pytest.raises(InputError, match="there is no attack") as refusal:
        attack_named(name)
    if name == "pdg20":
        assert "'pgd20'" in str(refusal.value)
