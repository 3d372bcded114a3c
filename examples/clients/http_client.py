"""An agent that calls a guarded service over plain HTTP, with a badge at each call.

    python examples/clients/http_client.py http://127.0.0.1:8004/orders/7

Where the badge comes from is in `badges.py`. Needs `rescind[http]`.
"""

import sys
import time

import httpx2
from badges import badges

import rescind

CANNOT_TELL = 503


def ask(url: str) -> httpx2.Response:
    """Ask; while the guard cannot tell, ask again when it says."""
    with badges() as badge, httpx2.Client(timeout=30) as http:
        while True:
            answer = http.get(url, headers={"X-Capiscio-Badge": badge()})
            if answer.status_code != CANNOT_TELL:
                return answer
            time.sleep(float(answer.headers.get("Retry-After", 1)))


def main(url: str) -> None:
    """Print what the service said, or who refused."""
    try:
        answer = ask(url)
    except rescind.RescindError as error:  # the registry gives this agent no badge any more
        print(f"refused: {error}")
    else:
        said = answer.text
        print(said if answer.is_success else f"refused: {answer.status_code} {said}")


if __name__ == "__main__":
    main(sys.argv[1])
