from __future__ import annotations

from brittle.report.recipe_words import recipe_words


def test_layers_that_were_changed_are_counted_and_not_listed():
    recipe = {"architecture": "mlp", "classes": 10}
    assert recipe_words(recipe, "none") == "architecture=mlp, classes=10"
    assert (
        recipe_words({**recipe, "edits": [{"path": "fc1"}]}, "none") == "architecture=mlp, classes=10, 1 layer changed"
    )
    edits = [{"path": f"fc{i}"} for i in range(40)]
    assert recipe_words({**recipe, "edits": edits}, "none") == "architecture=mlp, classes=10, 40 layers changed"
    assert recipe_words({**recipe, "edits": []}, "none") == "architecture=mlp, classes=10"


def test_a_model_without_a_recipe_has_the_words_given_for_it():
    assert recipe_words(None, "not from the zoo") == "not from the zoo"
