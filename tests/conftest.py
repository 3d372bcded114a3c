"""Hypothesis profiles: `default` in every run, `fuzz` by `make fuzz`."""

import os

from hypothesis import HealthCheck, settings

# A slow machine is no defect: no test fails on time (deadline, too_slow).
settings.register_profile(
    "default",
    max_examples=100,
    deadline=None,
    derandomize="CI" in os.environ,
    print_blob=True,
    suppress_health_check=[HealthCheck.too_slow],
)
settings.register_profile(
    "fuzz", settings.get_profile("default"), max_examples=20_000, derandomize=False
)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "default"))
