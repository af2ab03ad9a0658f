import re

import numpy as np

from tests.conftest import readme_code


def test_the_readme_s_way_to_read_a_shard_works_without_this_project_s_code(workspace, tmp_path, monkeypatch):
    code = readme_code("import zarr")
    assert not re.search(r"import (pipeline|model|configs|stages)", code)
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "pairs").symlink_to(workspace.pairs)
    monkeypatch.chdir(tmp_path)
    read = {}

    exec(code, read)  # noqa: S102  # our own README

    assert read["original"].shape == read["changed"].shape == (64, 64, 3)
    differs = (read["original"] != read["changed"]).any(axis=2)
    assert not (differs & (read["mask"] == 0)).any()
    assert read["record"]["change"]["kind"] in ("inpaint", "paste", "local")
    assert np.asarray(read["mask"]).any()
