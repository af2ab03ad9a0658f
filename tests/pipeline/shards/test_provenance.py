import ast
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.shards import provenance
from pipeline.shards.provenance import ROOT, code_digest, fingerprint, made_by, meaning, source_files

PLAIN = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(), lambda inner: st.lists(inner, max_size=3), max_leaves=5
)
ROOM = {
    "stages/a.py": "from pipeline.room import f\n",
    "pipeline/room/__init__.py": "from pipeline.room.b import f\nfrom pipeline.room.c import g\n",
    "pipeline/room/b.py": "def f():\n    return 1\n",
    "pipeline/room/c.py": "def g():\n    return 2\n",
    "pipeline/progress.py": "BAR = 1\n",
}


@pytest.fixture
def write(tmp_path, monkeypatch):
    """Write a file of a small project, and give the digest of its stage."""
    monkeypatch.setattr(provenance, "ROOT", tmp_path)

    def write(name, text):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
        code_digest.cache_clear()
        return code_digest("stages.a")

    for name, text in ROOM.items():
        write(name, text)
    yield write
    code_digest.cache_clear()


def test_source_files_follow_imports_through_doors_and_any_number_of_steps():
    files = {path.as_posix() for path in source_files("pipeline.changes.synth")}

    assert {"pipeline/changes/synth.py", "pipeline/changes/perlin.py", "pipeline/source/run_lengths.py"} <= files
    assert not any(name.startswith("model/") for name in files)
    assert "pipeline/changes/fillers.py" not in files


def test_the_digest_changes_with_the_meaning_of_a_file_that_is_used_and_with_no_other(write):
    before = write("pipeline/room/b.py", ROOM["pipeline/room/b.py"])
    assert source_files("stages.a") == [Path("pipeline/room/b.py"), Path("stages/a.py")]
    for name, text in {
        "pipeline/room/c.py": "def g():\n    return 3\n",
        "pipeline/room/b.py": '"""What."""\n\n\ndef f():\n    """Why."""\n    # how\n    return (1)\n',
        "pipeline/progress.py": "BAR = 2\n",
    }.items():
        assert write(name, text) == before
    assert write("stages/a.py", "from pipeline.progress import BAR\nfrom pipeline.room import f\n") != before
    assert source_files("stages.a") == [Path("pipeline/room/b.py"), Path("stages/a.py")]
    now = write("pipeline/progress.py", "BAR = 3\n")
    assert write("pipeline/room/b.py", "def f():\n    return 4\n") != now


@pytest.mark.parametrize("path", sorted((ROOT / "pipeline" / "changes").glob("*.py")), ids=lambda path: path.name)
def test_comments_docstrings_and_layout_are_no_meaning(path):
    source = path.read_text()
    lines = [
        f"{line}  # why" if line.rstrip().endswith("]") and '"' not in line else line for line in source.split("\n")
    ]
    assert meaning("# first\n\n" + source) == meaning(source)
    assert meaning("\n".join(lines)) == meaning(source)
    assert meaning(ast.unparse(ast.parse(source))) == meaning(source)
    assert '"""' not in meaning(source)


def test_the_words_of_an_error_are_no_meaning_and_its_type_is():
    one, other, third = (f"def f():\n    raise {what}\n" for what in ('A("x")', 'A("y") from None', 'B("x")'))
    assert meaning(one) == meaning('def f():\n    raise A("z")\n')
    assert len({meaning(one), meaning(other), meaning(third)}) == 3


def test_a_function_of_a_docstring_alone_means_nothing():
    assert (
        meaning('def f():\n    """Why."""\n') == meaning("def f():\n    pass\n") != meaning("def f():\n    return 1\n")
    )


@given(st.dictionaries(st.text(), PLAIN, max_size=5))
def test_a_fingerprint_does_not_depend_on_the_order_of_keys(content):
    assert fingerprint(content) == fingerprint(dict(reversed(list(content.items()))))
    assert fingerprint({**content, "seed": 1}) != fingerprint({**content, "seed": 2})


def test_a_library_upgraded_under_a_standing_process_is_the_one_that_it_has_loaded(monkeypatch):
    before = made_by("pipeline.changes.synth")["libraries"]
    monkeypatch.setattr("pipeline.shards.provenance.version", lambda _: "99")
    assert made_by("pipeline.changes.synth")["libraries"] == before
