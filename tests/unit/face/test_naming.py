"""What a process is called where nobody has named it."""

import pytest

from rescind import config
from rescind.naming import of_program


@pytest.mark.parametrize(
    ("line", "folder", "name"),
    [
        ("/usr/bin/gunicorn -b 127.0.0.1:8000 orders.main:app", "srv", "srv.orders.main"),
        ("gunicorn app:app", "orders", "orders.app"),
        ("uvicorn billing:create() --factory", "srv", "billing"),
        ("/srv/orders/__main__.py", "x", "orders"),
        ("/srv/pay/server.py --port 8000", "pay", "pay.server"),
        ("invoices.py", "srv", "invoices"),
        ("uwsgi", "orders", "orders.uwsgi"),
        ("/usr/bin/rescind sidecar", "x", "rescind-sidecar"),
        ("-c", "orders", "orders.python"),
        ("", "", "python"),
        ("/srv/b ad/näme.py", "x", "n-me"),
        (".hidden.py", "x", "hidden"),
    ],
)
def test_a_service_is_called_after_its_program(line: str, folder: str, name: str) -> None:
    """What it serves, its module, its script; where many are called so, with their folder."""
    words = line.split(" ") if " ad" not in line else [line]
    assert of_program(words, folder) == name


def test_a_name_that_was_given_counts() -> None:
    """The default is for who has said nothing."""
    assert config.load({"name": "eu-7"}, {}).settings.name == "eu-7"
    assert config.load({}, {"RESCIND_NAME": ""}).settings.name != ""
    assert config.load({}, {}).settings.name != "subscriber"
