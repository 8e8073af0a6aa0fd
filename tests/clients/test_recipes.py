"""The recipes as data: everything they name exists, and the version they call tested is installed
here."""

import pytest

import environments
import recipes
from recipes import Recipe

EVERY = pytest.mark.parametrize("recipe", recipes.every(), ids=lambda recipe: recipe.id)
pytestmark = pytest.mark.quick


@EVERY
def placeholders_name_the_recipes_providers_and_nothing_else(recipe: Recipe):
    assert recipe.placeholders() <= {*recipe.providers, "workspace", "address", "dummy"}
    assert set(recipe.providers) <= recipe.placeholders(), "a provider that the recipe says nothing about"


@EVERY
def a_recipe_that_says_it_is_tested_is_installed_at_that_version(recipe: Recipe):
    assert ("tested" in recipe.data) == (recipe.id in TESTED)
    if "tested" in recipe.data:
        assert recipe.data["tested"] in environments.pinned(recipe.id)


#: The clients that the other modules run.
TESTED = {folder.name for folder in environments.FOLDER.iterdir()} - {"github-actions"}
