from pipeline.prune import main


def test_what_training_keeps_of_stores_is_said_and_left(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert main([]) == 0
    assert "blocks" not in capsys.readouterr().out
    blocks = tmp_path / ".work" / "blocks"
    blocks.mkdir(parents=True)
    kept = blocks / f"{'a' * 64}-pair-0-500000"
    kept.write_bytes(bytes(500_000))
    (blocks / "thesis.tex").write_bytes(bytes(900_000))

    assert main(["--delete"]) == 0

    assert ".work/blocks: 0.5 MB fetched from stores by training, kept" in capsys.readouterr().out
    assert kept.exists()
