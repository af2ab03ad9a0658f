import os
import re
import signal
from pathlib import Path

import pytest
from hypothesis import settings

# A busy machine is no fault of the code; the same examples everywhere make a red run repeatable.
settings.register_profile("project", deadline=None, derandomize=True)
settings.load_profile("project")

# A shell that runs the tests in the background has them ignore Ctrl-C, and with them every process that they start.
signal.signal(signal.SIGINT, signal.default_int_handler)

ROOT = Path(__file__).resolve().parent.parent
SHARED = ROOT.parent / "shared"


def readme_code(word: str) -> str:
    """The README's block of Python that holds `word`."""
    blocks = re.findall(r"```python\n(.*?)```", (ROOT / "README.md").read_text(), re.DOTALL)
    (code,) = (block for block in blocks if word in block)
    return str(code)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Those that run whole stages come first: begun last, they would leave the other processes without work."""
    items.sort(key=lambda item: "stages" not in item.path.parts)


@pytest.fixture(scope="session")
def shared() -> Path:
    """Real input that lies beside the project on the builders' machines."""
    if not (SHARED / "data").is_dir():
        pytest.skip(f"no {SHARED}/data: real input is not on this machine")
    return SHARED


@pytest.fixture(autouse=True)
def _no_user_configuration(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("LAMA_MODEL", raising=False)
    os.environ.setdefault("DVC_NO_ANALYTICS", "1")
