"""Marks that many test files share: what kind of test it is, and the warnings of libraries that it may meet."""

import pytest

OF_IMPORTS = pytest.mark.filterwarnings("ignore::DeprecationWarning")  # of mlflow's own imports
OF_QUERIES = pytest.mark.filterwarnings("ignore::sqlalchemy.exc.SAWarning")
STORY = [pytest.mark.story, OF_IMPORTS, OF_QUERIES]  # whole flows, by the command line or from Python
# a store of MLflow's, opened in this process
STORE = [
    pytest.mark.slow,
    pytest.mark.filterwarnings("ignore:The ``noload`` loader strategy"),
    pytest.mark.filterwarnings("ignore:Operation with range is deprecated"),
]
# Great Expectations imports modules that Python 3.11 has deprecated, and takes half a second per table
OF_CHECKS = pytest.mark.filterwarnings("ignore:module 'sre_(constants|parse)' is deprecated:DeprecationWarning")
CHECKS = [pytest.mark.slow, OF_CHECKS]
