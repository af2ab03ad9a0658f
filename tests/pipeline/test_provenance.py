from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from pipeline import provenance
from pipeline.provenance import code_digest, fingerprint, source_files

PLAIN = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(), lambda inner: st.lists(inner, max_size=3), max_leaves=5
)


def test_source_files_follow_imports_through_any_number_of_steps():
    files = {path.as_posix() for path in source_files("stages.synth")}

    assert {"stages/__init__.py", "stages/synth.py", "pipeline/synth.py", "pipeline/perlin.py"} <= files
    assert not any(name.startswith("model/") for name in files)
    assert "pipeline/fillers.py" not in files


def test_the_digest_of_the_code_changes_with_a_file_it_is_made_of_and_with_no_other(tmp_path, monkeypatch):
    for name, text in {"stages/a.py": "from pipeline import b\n", "pipeline/b.py": "", "pipeline/c.py": ""}.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text)
    monkeypatch.setattr(provenance, "ROOT", tmp_path)

    def digest():
        code_digest.cache_clear()
        return code_digest("stages.a")

    before = digest()
    assert source_files("stages.a") == [Path("pipeline/b.py"), Path("stages/a.py")]
    (tmp_path / "pipeline/c.py").write_text("CHANGED = True\n")
    assert digest() == before
    (tmp_path / "pipeline/b.py").write_text("CHANGED = True\n")
    assert digest() != before
    code_digest.cache_clear()


@given(st.dictionaries(st.text(), PLAIN, max_size=5))
def test_a_fingerprint_does_not_depend_on_the_order_of_keys(content):
    assert fingerprint(content) == fingerprint(dict(reversed(list(content.items()))))
    assert fingerprint({**content, "seed": 1}) != fingerprint({**content, "seed": 2})
