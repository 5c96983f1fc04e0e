"""Recipes and methods: they come with the code, so there is nobody to ask."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, TypeVar

from gyre.training_scheduler.v1 import method_pb2, method_service_pb2, recipe_pb2, recipe_service_pb2, run_pb2
from gyre.training_scheduler.v1.method_service_pb2_grpc import MethodServiceServicer
from gyre.training_scheduler.v1.recipe_service_pb2_grpc import RecipeServiceServicer
from gyre_kit.app import Context
from gyre_kit.pages import BadPageToken
from gyre_kit.render import render
from gyre_trainers.methods import METHODS, Method, health_schema_of, schema_of

from services.training_scheduler import recipes

Listed = TypeVar("Listed")


class RecipeApi(RecipeServiceServicer):
    def __init__(self, _: Context) -> None: ...

    async def ListRecipes(
        self, request: recipe_service_pb2.ListRecipesRequest, _: Any
    ) -> recipe_service_pb2.ListRecipesResponse:
        shown, rest = _page(recipes.RECIPES, request)
        return recipe_service_pb2.ListRecipesResponse(
            recipes=[recipe_to_proto(it) for it in shown],
            next_page_token=rest,
            total_size=len(recipes.RECIPES),
        )


class MethodApi(MethodServiceServicer):
    def __init__(self, _: Context) -> None: ...

    async def ListMethods(
        self, request: method_service_pb2.ListMethodsRequest, _: Any
    ) -> method_service_pb2.ListMethodsResponse:
        shown, rest = _page(list(METHODS), request)
        return method_service_pb2.ListMethodsResponse(
            methods=[method_to_proto(it) for it in shown], next_page_token=rest, total_size=len(METHODS)
        )


def _page(everything: Sequence[Listed], request: Any) -> tuple[Sequence[Listed], str]:
    """Those of the page, and the token of the next. Raises: BadPageToken."""
    if request.page_token and not request.page_token.isdecimal():
        raise BadPageToken()
    start = int(request.page_token or 0)
    end = start + (request.page_size or len(everything))
    return everything[start:end], str(end) if end < len(everything) else ""


def recipe_to_proto(recipe: recipes.Recipe) -> recipe_pb2.Recipe:
    presets = [
        recipe_pb2.RecipePreset(preset=preset, hyperparameters=recipes.hyperparameters(recipe, preset))
        for preset in (run_pb2.PRESET_QUICK_LOOK, run_pb2.PRESET_BALANCED, run_pb2.PRESET_BEST)
    ]
    return render(recipe, recipe_pb2.Recipe, hyperparameters=recipes.hyperparameters(recipe), presets=presets)


def method_to_proto(method: Method) -> method_pb2.TrainingMethod:
    about = METHODS[method]
    found = method_pb2.TrainingMethod(
        name=f"methods/{method.lower()}",
        method=run_pb2.Method.Value(f"METHOD_{method}"),
        display_name=about.title,
        display_name_zh=about.zh,
        dataset_type=about.rows,
        needs_reward_model=about.own().needs_reward_model,
    )
    found.settings_schema.update(schema_of(method))
    found.health_schema.update(health_schema_of(method))
    return found
