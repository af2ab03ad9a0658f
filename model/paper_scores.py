"""The paper's own scores, to stand beside ours: Table 1 (PatchCore, WinCLIP+) and Tables A1, A2 and A3 (MetaUAS).

In percent, with the standard deviation over 5 prompts where there are several; in the order of `model.metrics.NAMES`.
MVTec AD was scored at 256 px, VisA and GoodsAD at 512 px. "-" is a figure that our copy of the paper has lost.
"""

from collections.abc import Iterable
from functools import cache

WHOLE = "mean"
TABLES = {"MVTec": "Tables 1 and A1", "VisA": "Tables 1 and A2", "Goods": "Tables 1 and A3"}

# Benchmark | method | category | I-AUROC  I-AP  I-F1max  P-AUROC  P-AP  P-F1max  AUPRO
SCORES = """
MVTec | PatchCore | mean | 79.0±0.8  89.6±1.1  88.9±0.3  93.1±0.2  37.1±0.9  42.2±0.8  82.7±0.5
MVTec | WinCLIP+ | mean | 92.8±1.2  96.4±0.7  93.8±0.5  93.5±0.2  38.4±1.2  42.5±1.0  83.9±0.4
MVTec | MetaUAS | bottle | 98.3±0.8  99.5±0.2  97.9±0.8  97.6±1.6  85.9±2.6  77.9±1.5  94.4±1.5
MVTec | MetaUAS | cable | 90.8±1.5  95.1±0.9  86.5±1.8  95.2±0.4  64.1±1.3  63.0±1.6  85.8±1.8
MVTec | MetaUAS | capsule | 67.1±5.2  89.8±3.0  91.4±0.5  94.2±0.7  23.6±6.5  33.7±4.3  54.3±7.0
MVTec | MetaUAS | carpet | 99.8±0.3  99.9±0.1  99.3±0.7  97.4±0.4  73.7±1.5  68.1±1.7  94.4±0.4
MVTec | MetaUAS | grid | 94.6±1.2  98.1±0.5  92.7±1.3  89.0±1.2  25.1±2.7  33.8±1.6  70.0±2.9
MVTec | MetaUAS | hazelnut | 97.9±2.2  98.9±1.2  95.0±3.2  98.1±0.7  66.2±9.8  60.3±8.4  87.9±3.5
MVTec | MetaUAS | leather | 99.9±0.2  100.0±0.0  99.7±0.3  99.7±0.0  71.2±0.9  65.4±0.8  95.8±0.8
MVTec | MetaUAS | metal nut | 94.4±3.9  98.6±1.1  95.0±1.2  95.0±0.7  76.9±4.0  70.9±2.6  87.1±1.2
MVTec | MetaUAS | pill | 92.3±1.4  98.5±0.2  94.2±1.1  96.4±0.6  70.1±2.9  63.8±2.3  88.6±2.1
MVTec | MetaUAS | screw | 63.5±5.0  84.4±3.4  85.5±0.3  92.1±3.1  8.1±2.9  14.4±3.9  72.4±5.7
MVTec | MetaUAS | tile | 95.6±0.6  98.5±0.1  94.4±1.1  95.3±0.5  84.6±1.0  79.5±0.7  92.0±0.8
MVTec | MetaUAS | toothbrush | 92.2±1.8  97.2±0.8  91.5±2.9  98.9±0.2  70.2±1.6  69.2±0.4  81.0±3.6
MVTec | MetaUAS | transistor | 79.7±6.6  79.3±6.8  71.9±4.2  82.4±3.2  37.2±5.1  37.7±5.0  67.1±3.6
MVTec | MetaUAS | wood | 98.5±0.3  99.5±0.1  96.7±0.8  94.1±0.4  70.0±1.7  65.9±2.1  89.0±1.1
MVTec | MetaUAS | zipper | 95.9±2.5  98.5±1.3  96.1±1.2  94.5±1.3  62.1±2.2  59.5±1.7  78.7±2.2
MVTec | MetaUAS | mean | 90.7±0.7  95.7±0.6  92.5±0.3  94.6±0.2  59.3±1.4  57.5±1.1  82.6±0.6
MVTec | MetaUAS* | bottle | 99.6  99.9  98.4  97.5  85.6  77.5  95.4
MVTec | MetaUAS* | cable | 95.3  97.6  91.9  96.3  67.5  65.9  90.2
MVTec | MetaUAS* | capsule | 80.1  94.9  93.5  95.8  40.5  48.3  57.6
MVTec | MetaUAS* | carpet | 99.6  99.9  98.9  97.0  73.9  68.7  93.2
MVTec | MetaUAS* | grid | 96.2  98.7  94.8  90.8  28.7  37.1  75.6
MVTec | MetaUAS* | hazelnut | 99.3  99.6  97.9  98.8  74.7  68.0  89.1
MVTec | MetaUAS* | leather | 100  100  100  99.7  70.9  65.5  96.4
MVTec | MetaUAS* | metal nut | 96.2  99.1  95.2  96.3  81.4  73.3  91.0
MVTec | MetaUAS* | pill | 95.3  99.2  94.7  94.8  64.8  59.9  86.3
MVTec | MetaUAS* | screw | 84.2  94.5  87.6  95.0  29.4  33.4  61.7
MVTec | MetaUAS* | tile | 95.1  98.3  93.4  94.6  83.3  78.8  91.2
MVTec | MetaUAS* | toothbrush | 93.6  97.6  92.3  98.9  70.3  70.5  78.6
MVTec | MetaUAS* | transistor | 91.0  88.3  79.2  86.0  47.9  48.0  72.8
MVTec | MetaUAS* | wood | 98.8  99.6  96.8  94.3  73.0  68.4  88.2
MVTec | MetaUAS* | zipper | 89.3  96.3  93.7  94.2  63.7  61.5  79.0
MVTec | MetaUAS* | mean | 94.2  97.6  93.9  95.3  63.7  61.6  83.1
MVTec | MetaUAS*+ | bottle | 99.6  99.9  98.4  98.8  87.5  78.1  96.8
MVTec | MetaUAS*+ | cable | 95.5  97.7  91.9  97.1  67.4  66.4  91.6
MVTec | MetaUAS*+ | capsule | 83.4  95.7  92.7  97.8  43.3  49.4  90.0
MVTec | MetaUAS*+ | carpet | 99.8  100  98.9  99.5  80.6  71.0  98.0
MVTec | MetaUAS*+ | grid | 99.6  99.9  98.2  98.2  36.5  39.4  94.7
MVTec | MetaUAS*+ | hazelnut | 100  100  100  99.1  79.1  74.1  92.7
MVTec | MetaUAS*+ | leather | 100  100  100  99.7  71.6  65.5  98.9
MVTec | MetaUAS*+ | metal nut | 97.8  99.5  96.3  96.5  82.1  73.7  92.1
MVTec | MetaUAS*+ | pill | 95.8  99.3  95.0  96.8  68.5  60.9  94.1
MVTec | MetaUAS*+ | screw | 88.2  95.6  91.3  98.4  34.4  33.9  90.5
MVTec | MetaUAS*+ | tile | 96.1  98.6  94.0  98.1  88.4  79.3  95.4
MVTec | MetaUAS*+ | toothbrush | 94.4  97.9  92.3  99.4  72.6  70.9  91.7
MVTec | MetaUAS*+ | transistor | 91.1  88.5  80.5  91.6  51.0  50.6  78.6
MVTec | MetaUAS*+ | wood | 99.0  99.7  96.8  96.7  77.4  69.9  95.0
MVTec | MetaUAS*+ | zipper | 89.4  96.4  93.4  96.0  64.7  61.0  87.9
MVTec | MetaUAS*+ | mean | 95.3  97.9  94.6  97.6  67.0  62.9  92.5
VisA | PatchCore | mean | 64.2±1.0  66.0±0.7  75.5±0.5  95.5±0.3  16.5±1.7  26.0±1.5  84.6±0.5
VisA | WinCLIP+ | mean | 80.5±2.6  82.1±2.7  81.3±1.0  94.4±0.1  15.9±0.2  23.2±0.4  79.3±0.3
VisA | MetaUAS | candle | 84.7±1.1  85.2±1.4  79.7±1.1  99.3±0.1  60.0±2.3  57.3±1.7  63.0±3.2
VisA | MetaUAS | capsules | 77.7±3.9  86.4±2.3  79.7±1.7  96.5±0.7  40.5±4.1  44.8±3.4  76.9±2.5
VisA | MetaUAS | cashew | 78.9±5.1  90.1±2.4  82.2±1.7  91.1±1.9  49.4±3.7  50.4±2.4  51.8±4.2
VisA | MetaUAS | chewinggum | 95.8±0.2  98.2±0.1  93.5±1.1  98.5±0.4  85.2±1.5  79.6±1.1  69.6±0.9
VisA | MetaUAS | fryum | 83.5±2.4  91.9±1.4  84.0±1.4  65.2±5.4  14.9±5.5  23.0±6.6  23.9±2.5
VisA | MetaUAS | macaroni1 | 73.0±6.0  77.0±5.4  71.2±2.0  82.4±2.1  13.1±6.3  21.2±8.0  31.5±4.0
VisA | MetaUAS | macaroni2 | 60.8±4.2  59.8±3.5  68.0±0.7  89.5±5.7  2.3±1.1  7.5±2.9  56.4±13.7
VisA | MetaUAS | pcb1 | 75.4±13.6  76.0±9.8  75.1±9.6  98.2±0.6  66.1±5.8  62.9±4.1  71.4±6.3
VisA | MetaUAS | pcb2 | 76.0±2.9  76.6±3.0  72.9±3.5  94.5±0.2  30.8±2.7  39.0±2.7  66.4±4.0
VisA | MetaUAS | pcb3 | 77.1±3.4  79.8±2.6  72.8±2.7  97.0±0.4  42.7±3.4  42.9±1.9  58.5±1.5
VisA | MetaUAS | pcb4 | 95.2±2.4  95.0±2.1  89.3±4.1  97.1±0.8  41.3±3.2  45.6±2.4  69.3±3.4
VisA | MetaUAS | pipe fryum | 95.8±1.4  97.5±1.2  93.9±1.3  96.9±1.0  66.0±3.4  62.7±2.7  86.2±4.3
VisA | MetaUAS | mean | 81.2±1.7  84.5±1.4  80.2±0.7  92.2±0.7  42.7±0.8  44.7±0.6  60.4±1.5
VisA | MetaUAS* | candle | 84.4  85.4  78.8  98.9  59.8  57.5  -
VisA | MetaUAS* | capsules | 83.4  90.0  82.3  97.1  48.3  50.6  74.7
VisA | MetaUAS* | cashew | 84.3  92.1  85.6  88.8  43.5  45.6  48.8
VisA | MetaUAS* | chewinggum | 95.0  98.0  93.3  98.6  85.9  80.1  70.4
VisA | MetaUAS* | fryum | 84.1  92.8  83.4  67.1  13.7  20.6  22.4
VisA | MetaUAS* | macaroni1 | 71.6  74.3  71.1  81.0  4.7  10.4  24.6
VisA | MetaUAS* | macaroni2 | 60.3  57.9  67.6  91.0  2.8  9.6  65.1
VisA | MetaUAS* | pcb1 | 86.9  84.8  80.8  98.6  78.8  74.5  63.8
VisA | MetaUAS* | pcb2 | 79.9  78.7  75.0  95.9  34.9  41.0  64.5
VisA | MetaUAS* | pcb3 | 79.7  81.6  73.9  96.4  46.4  46.4  52.5
VisA | MetaUAS* | pcb4 | 96.1  95.3  91.1  95.4  43.7  46.9  62.8
VisA | MetaUAS* | pipe fryum | 95.6  97.8  92.5  95.1  64.8  63.5  82.6
VisA | MetaUAS* | mean | 83.4  85.7  81.3  92.0  43.9  45.6  57.3
VisA | MetaUAS*+ | candle | 85.8  86.3  79.8  98.3  58.5  57.5  -
VisA | MetaUAS*+ | capsules | 84.5  91.0  82.3  98.3  51.5  51.8  80.4
VisA | MetaUAS*+ | cashew | 87.7  93.5  88.9  98.5  55.9  50.6  88.1
VisA | MetaUAS*+ | chewinggum | 95.8  98.3  93.3  99.5  86.0  80.2  85.1
VisA | MetaUAS*+ | fryum | 89.6  94.9  88.2  96.6  38.6  44.5  81.9
VisA | MetaUAS*+ | macaroni1 | 73.1  76.3  70.8  96.9  7.8  12.5  81.1
VisA | MetaUAS*+ | macaroni2 | 62.6  64.4  67.6  97.7  4.6  10.5  89.6
VisA | MetaUAS*+ | pcb1 | 87.9  86.0  81.7  99.3  81.8  75.7  82.4
VisA | MetaUAS*+ | pcb2 | 80.4  79.1  75.4  97.4  35.1  41.8  77.4
VisA | MetaUAS*+ | pcb3 | 80.7  82.3  75.1  96.8  46.7  47.2  85.7
VisA | MetaUAS*+ | pcb4 | 96.6  95.8  91.6  97.2  43.6  47.1  84.3
VisA | MetaUAS*+ | pipe fryum | 96.5  98.3  93.0  99.0  66.9  63.5  96.6
VisA | MetaUAS*+ | mean | 85.1  87.2  82.3  98.0  48.1  48.6  85.5
Goods | PatchCore | mean | 48.3±1.0  54.2±0.5  71.3±0.1  84.3±0.5  4.5±0.2  9.3±0.3  55.6±1.0
Goods | WinCLIP+ | mean | 53.5±0.2  58.6±0.2  71.5±0.1  85.5±0.6  5.7±0.4  11.3±0.5  56.6±1.2
Goods | MetaUAS | cigarette box | 58.9±3.8  63.2±3.6  74.2±0.5  88.4±1.3  21.1±3.3  28.9±2.9  62.9±3.3
Goods | MetaUAS | drink bottle | 55.1±1.2  59.3±1.1  70.6±0.2  92.4±0.7  7.3±1.6  12.8±2.0  64.6±0.7
Goods | MetaUAS | drink can | 52.1±3.4  48.4±2.0  66.7±0.0  86.6±1.4  7.6±1.1  14.0±0.8  58.4±0.5
Goods | MetaUAS | food bottle | 55.0±1.4  64.4±0.5  75.0±0.1  89.9±0.3  8.4±0.6  14.2±0.6  59.4±1.0
Goods | MetaUAS | food box | 52.9±2.6  65.6±2.5  77.7±0.3  86.4±1.7  4.4±0.7  8.3±1.1  57.2±2.3
Goods | MetaUAS | food package | 52.7±1.7  50.4±1.8  64.8±0.1  87.5±1.5  2.8±0.6  5.7±1.4  51.6±3.2
Goods | MetaUAS | mean | 54.5±1.0  58.5±0.4  71.5±0.1  88.5±0.6  8.6±0.7  14.0±0.7  59.0±1.3
Goods | MetaUAS* | cigarette box | 98.9  99.2  96.0  98.7  78.0  73.8  -
Goods | MetaUAS* | drink bottle | 85.2  86.7  80.9  98.9  62.2  61.3  68.1
Goods | MetaUAS* | drink can | 96.7  97.1  91.5  93.8  44.9  53.7  57.9
Goods | MetaUAS* | food bottle | 90.1  93.1  86.2  97.1  50.5  52.1  70.1
Goods | MetaUAS* | food box | 86.9  92.4  84.5  98.3  54.6  54.8  67.5
Goods | MetaUAS* | food package | 82.7  81.8  74.8  97.5  32.1  37.0  73.6
Goods | MetaUAS* | mean | 90.1  91.7  85.7  97.4  53.7  55.5  70.8
Goods | MetaUAS*+ | cigarette box | 97.5  96.3  96.4  98.6  74.9  74.0  -
Goods | MetaUAS*+ | drink bottle | 85.4  86.8  81.3  98.8  58.7  61.4  87.6
Goods | MetaUAS*+ | drink can | 97.2  97.5  91.8  96.7  42.8  54.9  86.5
Goods | MetaUAS*+ | food bottle | 90.4  92.9  86.7  97.5  44.1  52.2  88.6
Goods | MetaUAS*+ | food box | 85.2  87.4  84.1  97.8  46.5  54.6  85.5
Goods | MetaUAS*+ | food package | 83.6  78.1  76.9  97.9  27.0  37.4  84.4
Goods | MetaUAS*+ | mean | 89.9  89.9  86.2  97.9  49.0  55.8  88.0
"""


@cache
def published() -> dict[str, dict[str, dict[str, tuple[str, ...]]]]:
    """The scores as printed, by benchmark, category ("mean" over all) and method."""
    scores: dict[str, dict[str, dict[str, tuple[str, ...]]]] = {}
    for line in SCORES.strip().splitlines():
        benchmark, method, category, values = line.split(" | ")
        scores.setdefault(benchmark, {}).setdefault(category, {})[method] = tuple(values.split())
    return scores


def benchmark_of(categories: Iterable[str]) -> str | None:
    """Which of the paper's benchmarks has all these categories (metal_nut is its "metal nut"); None if none has."""
    names = {plain(name) for name in categories}
    return next((name for name, known in published().items() if names and names <= known.keys() - {WHOLE}), None)


def plain(category: str) -> str:
    """A category's name as the paper writes it."""
    return category.replace("_", " ").lower()
