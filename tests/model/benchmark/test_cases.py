from model.benchmark.cases import Case, best_and_worst
from model.layouts import read_benchmark
from tests.model.tiny_benchmark import make_category


def test_the_worst_cases_are_missed_anomalies_and_loud_false_alarms(tmp_path):
    make_category(tmp_path / "plate")
    (category,) = read_benchmark("mvtec", tmp_path)  # three good queries, then four anomalous ones
    ratings = [0.9, 0.1, 0.5, 0.8, 0.2, float("nan"), 0.6]
    cases = [Case(rating, category, place, None, ()) for place, rating in enumerate(ratings)]
    shown = {title: [case.place for case in some] for title, some in best_and_worst(cases, 2).items()}
    assert shown == {"best cases": [3, 6], "worst cases": [4, 1]}
