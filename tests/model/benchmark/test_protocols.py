import cv2
import numpy as np
import pytest

from configs.errors import Failure
from model.benchmark.protocols import read_query, read_seen
from model.layouts import GOOD, Query


def write(path, pixels):
    cv2.imwrite(str(path), pixels)
    return path


def test_a_query_is_read_with_its_mask(tmp_path):
    image = write(tmp_path / "image.png", np.full((8, 10, 3), 128, np.uint8))
    mask = write(tmp_path / "mask.png", np.eye(8, 10, dtype=np.uint8))
    found, truth = read_query(Query(image, mask, "cut"))
    assert (found.shape, found.dtype) == ((8, 10, 3), np.uint8)
    assert np.array_equal(truth, np.eye(8, 10, dtype=bool))
    assert not read_query(Query(image, None, GOOD))[1].any()


def test_the_truth_of_an_anomalous_query_without_mask_is_not_known(tmp_path):
    image = write(tmp_path / "image.png", np.full((8, 10, 3), 128, np.uint8))
    assert not read_seen(Query(image, None, "cut"), (32, 32), "areas").known
    assert read_seen(Query(image, None, GOOD), (32, 32), "areas").known


@pytest.mark.parametrize("value", [1, 255, 256, 65535])
def test_of_a_16_bit_mask_any_value_above_zero_counts(tmp_path, value):
    image = write(tmp_path / "image.png", np.full((8, 10, 3), 128, np.uint8))
    mask = write(tmp_path / "mask.png", np.eye(8, 10, dtype=np.uint16) * np.uint16(value))
    assert np.array_equal(read_query(Query(image, mask, "cut"))[1], np.eye(8, 10, dtype=bool))


def test_a_mask_of_another_size_is_an_error(tmp_path):
    image = write(tmp_path / "000.bmp", np.full((8, 10, 3), 128, np.uint8))
    mask = write(tmp_path / "000.png", np.zeros((9, 10), np.uint8))
    with pytest.raises(Failure, match=r"000\.png: mask is 10 x 9 px, its image .*000\.bmp is 10 x 8 px; wanted"):
        read_query(Query(image, mask, "cut"))
