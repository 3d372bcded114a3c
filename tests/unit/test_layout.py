"""Each role is one package under one name."""

import importlib
from importlib import resources
from importlib.util import find_spec

import pytest

ROLES = (
    "rescind",
    "rescind_registry",
    "rescind_publisher",
    "rescind_subscriber",
    "rescind_guard",
    "rescind_protocol",
)


@pytest.mark.parametrize("role", ROLES)
def test_role_is_one_typed_package(role: str) -> None:
    """Every role's package says what it is and carries its types."""
    package = importlib.import_module(role)
    spec = find_spec(role)
    assert package.__doc__
    assert spec is not None
    assert spec.submodule_search_locations is not None
    assert len(spec.submodule_search_locations) == 1
    assert resources.files(role).joinpath("py.typed").is_file()
