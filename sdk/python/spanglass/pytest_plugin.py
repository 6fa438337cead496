"""The fixture `run_plugin`. pytest finds it by itself once the package is installed."""

import pytest

import spanglass


@pytest.fixture
def run_plugin():
    """Calls an entry point with a context that records: `run_plugin(invoke, who="Ada").result`."""
    return spanglass.run
