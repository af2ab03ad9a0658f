import cv2
import numpy as np

from configs.train import Augment
from model.pairs.dataset import PairDataset
from model.pairs.views import prepare
from model.training.feed import Feed
from model.training.sheets import COLUMNS, GAP_PX, HEADING_PX, write_augmented
from tests.model.tiny_pairs import write_square_shards

STILL = {"rotate_deg": 0, "translate_share": 0, "scale": {"low": 1, "high": 1}}
PALE = {"jitter": "published", "brightness": 0, "contrast": 0, "saturation": 0, "hue": 0}


def test_the_sheet_of_augmented_pairs_shows_what_is_stored_what_is_seen_and_the_mask(tmp_path):
    write_square_shards(tmp_path)
    dataset = PairDataset(tmp_path, "train")
    batch = next(Feed(dataset, 3).epoch(1))
    views = prepare(batch, Augment.model_validate(STILL | PALE), 0, 1)

    write_augmented(tmp_path / "augmented.png", batch, views)

    sheet = cv2.imread(str(tmp_path / "augmented.png"))[..., ::-1]
    assert sheet.shape == (HEADING_PX + 3 * 64 + 2 * GAP_PX, len(COLUMNS) * 64 + (len(COLUMNS) - 1) * GAP_PX, 3)
    first = sheet[HEADING_PX:][:64]
    original, changed, prompt, query, mask = (first[:, at : at + 64] for at in range(0, sheet.shape[1], 64 + GAP_PX))
    assert (original == batch["pair"][0, 0].numpy()).all()
    assert (changed == batch["pair"][0, 1].numpy()).all()
    swapped = np.abs(prompt.astype(int) - original).max() > 3
    assert np.abs((query if swapped else prompt).astype(int) - original).max() <= 1
    reddened = (mask[..., 0].astype(int) - mask[..., 2]) > 30
    assert (reddened == (batch["mask"][0].numpy() > 0)).mean() > 0.95
