"""Every table: what it lists can be imported, what it does not list is answered with near misses."""

import pytest

from ironbind.core.registry import Table, UnknownName
from ironbind.recipes.all_tables import TABLES
from ironbind.types import CalibrationRecipe, InputError

ENTRIES = [(table, name) for table, entries in TABLES.items() for name in entries]


@pytest.mark.parametrize(("table", "name"), ENTRIES, ids=lambda one: str(one))
def test_every_entry_can_be_imported(table, name):
    entry = TABLES[table][name]
    assert entry is not None
    assert name in TABLES[table]
    if isinstance(TABLES[table], Table):
        module, _, attribute = TABLES[table].where(name).partition(":")
        assert module.startswith("ironbind.")
        assert attribute
        assert getattr(entry, "__doc__", None), f"{name} has no docstring"


@pytest.mark.parametrize("table", TABLES)
def test_names_are_plain(table):
    assert len(TABLES[table]) == len(list(TABLES[table])) > 0
    for name in TABLES[table]:
        assert name == name.lower()
        assert " " not in name


@pytest.mark.parametrize(("table", "name"), ENTRIES, ids=lambda one: str(one))
def test_a_misspelt_name_is_recognised(table, name):
    wrong = name + "x"
    assert wrong not in TABLES[table]
    with pytest.raises(UnknownName) as caught:
        TABLES[table][wrong]
    assert f"{wrong!r} is not known; did you mean" in str(caught.value)
    assert f"{name!r}" in str(caught.value)
    assert "\n" not in str(caught.value)
    assert isinstance(caught.value, (KeyError, InputError))


@pytest.mark.parametrize("table", TABLES)
def test_an_unheard_of_name_lists_what_there_is(table):
    with pytest.raises(UnknownName) as caught:
        TABLES[table]["qqqqqqqq"]
    assert all(name in str(caught.value) for name in TABLES[table])
    assert str(caught.value).startswith(TABLES[table].kind)
    assert TABLES[table].get("qqqqqqqq") is None


@pytest.mark.parametrize("name", TABLES["calibrations"])
@pytest.mark.parametrize("head", TABLES["heads"])
def test_calibration_recipes_build(name, head):
    recipe = TABLES["calibrations"][name](head=head, eps="2/255", epochs=3, seed=5)
    assert isinstance(recipe, CalibrationRecipe)
    assert (recipe.name, recipe.head, recipe.seed) == (name, head, 5)
    assert recipe.stages
    for stage in recipe.stages:
        assert (stage.epochs, stage.steps) == (3, None)
        assert stage.budget.written == "2/255"
        assert not stage.attack.stop_when_reached  # training needs strong examples, not barely successful ones
    own = TABLES["calibrations"][name]()
    assert own.name == name
    assert own.uses_adversarial_training == (own.adapters is not None or name.endswith("_head"))
    assert (
        own.samples == sum(stage.steps * stage.batch_size for stage in own.stages)
        if own.uses_adversarial_training
        else own.samples == 1000
    )
