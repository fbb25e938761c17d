"""What the tests of the command line share."""

from __future__ import annotations

import pytest
from clirunner import TEXT, nacrith

from nacrith import info


@pytest.fixture(scope="session")
def archive() -> bytes:
    """What the command line makes of TEXT."""
    made = nacrith("-c", stdin=TEXT).out
    assert info(made)[0].codec is not None  # else these tests would not meet the model
    return made
