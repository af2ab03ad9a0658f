"""What has to be known to read a benchmark's scores."""

from collections.abc import Collection, Mapping, Sequence

from configs.evaluate import Evaluate
from configs.model import System
from model.benchmark.look import variant_names
from model.benchmark.prompt_choice import Prompts
from model.layouts import Category
from model.scores import Row
from model.systems import Network, system_of

EXACT = "nearest masks, exact scores, AUPRO up to FPR 0.3"
PUBLISHED: dict[System, str] = {
    "metauas": "bilinear masks > 0, AUPRO by 200 thresholds, as the published evaluator but never flipped",
    "metacan": "images' shorter side to CLIP's 240 px and the middle cut out, as the released code does, and masks with"
    " them; pixel scores, which it has not, of the mean of the three levels' maps, AUPRO by 200 thresholds",
    "onenip": "images by Pillow's bilinear filter, nearest masks, as the released code but never flipped and with the"
    " benchmark's own image labels (there an image whose resized mask is empty is normal, which tells on BTAD alone);"
    " AUPRO, which it has not, by 200 thresholds",
}
SCORES = {
    "max": "",
    "top": "An image's score is the mean of the highest 0.2 % of its smoothed map.",
    "own": "An image's score is MetaCAN's own (Eq. 8), of `levels` the mean of its three levels', of winclip+ the mean"
    " of its map's highest place and of the text's, of the others the highest pixel. The maps of metacan and `levels`"
    " are the mean of the three levels'.",
    "pooled": "An image's score is the highest mean of any 16 x 16 px of its map, as in OneNIP's released code.",
}
PRIOR = (
    "averaged with WinCLIP+'s visual prior (ViT-B-16-plus-240). The paper publishes no code for *+, so three things are"
    " open: the weights are laion400m_e32 (e31 in the WinCLIP+ that it ran), images reach CLIP's 240 px bicubically"
    " from the size above (there from the file's own), and an image's score is the highest pixel of the averaged map"
    " (WinCLIP+ takes the mean of the prior's highest and a score by text)."
)


def notes_on(
    network: Network,
    settings: Evaluate,
    sizes: Collection[tuple[int, int]],
    categories: Sequence[Category],
    drawn: Sequence[Mapping[str, Prompts]],
) -> list[str]:
    """Notes on a network that is looked at as `settings` say, at `sizes` (H, W), with the `drawn` prompts."""
    names = variant_names(system_of(network))
    shown_sizes = ", ".join(sorted({f"{width} x {height} px" for height, width in sizes}))
    how = "compared with all at once" if system_of(network) == "metacan" else f"mean of {settings.shots_mean}"
    many = f"{settings.shots} prompts a category ({how})"
    shots = "one prompt a category" if settings.shots == 1 else many
    times = "" if len(drawn) == 1 else f"; mean ± sample standard deviation over {len(drawn)} draws"
    protocol = EXACT if settings.protocol == "exact" else PUBLISHED[system_of(network)]
    notes = [
        f"Protocol {settings.protocol} at {shown_sizes}: {protocol}.",
        f"{shots[0].upper()}{shots[1:]}, {'as listed' if settings.prompts else 'drawn by seed'}{times}.",
    ]
    if settings.scales != [1.0]:
        scales = ", ".join(f"{scale:g}" for scale in settings.scales)
        notes.append(f"Every method looks at each image in {scales} of that size; its maps are averaged.")
    if SCORES[settings.image_score]:
        notes.append(SCORES[settings.image_score])
    if network.size is not None and network.size not in sizes:
        notes.append("The network learned at {1} x {0} px.".format(*network.size))
    if "each" in settings.variants:
        notes.append(f"{names['each']}: each query with a normal image of its category, drawn by seed.")
    if {"best", "best+clip"} & set(settings.variants):
        notes.append(f"{names['best']}: each query with its best match among all normal images of its category.")
    if "best+clip" in settings.variants:
        notes.append(f"{names['best+clip']}: {PRIOR}")
    if "pool" in settings.variants:
        notes.append(f"{names['pool']}: the category is not told; the best match of all categories' prompts.")
    queries = {query.path.resolve() for category in categories for query in category.queries}
    shown = {path for prompts in drawn for own in prompts.values() for path in own}
    if same := sorted(str(path) for path in shown if path.resolve() in queries):
        notes.append(f"{len(same)} of {len(shown)} prompts are queries, too, such as {same[0]}.")
    if settings.limit:
        notes.append(f"At most {settings.limit} queries a category: not comparable with whole benchmarks.")
    return notes


def flips(row: Row, repetition: int) -> list[str]:
    """Where the published evaluator would have printed 1 - AUROC."""
    scores = {"I-AUROC": row.scores.i_auroc, "P-AUROC": row.scores.p_auroc}
    return [
        f"{row.category}, {row.method}, prompt {repetition}: {name} {100 * value:.1f} is below 50; the published"
        f" evaluator would have printed {100 - 100 * value:.1f}."
        for name, value in scores.items()
        if value < 0.5
    ]
