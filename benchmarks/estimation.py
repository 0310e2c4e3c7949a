"""How good estimates without labels are: error against NannyML's (where it is installed) and coverage of the 95 % band.

    python benchmarks/estimation.py --seeds 3

Every frame is simulated here: a model learnt from other rows, a labelled reference, and ten chunks that move away from
it step by step. Ratios are geometric means over metrics of (mean absolute error / NannyML's) in the same run.
"""

from __future__ import annotations

import os

for threads in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ.setdefault(threads, "1")

import argparse
import sys
import time
from collections import defaultdict
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from core.performance.estimated import ESTIMATED, fit_estimator

CHUNKS = 10
WEAK = (
    0.35  # of the signal, where features tell little of the label: then the answers' shares tell more than the rows do
)
KINDS = ("none", "covariate", "label", "weak", "miscalibrated", "small", "concept")
TASKS = ("binary", "multiclass", "regression")
CLASSES = {"binary": 2, "multiclass": 3}


def draw(
    rng: np.random.Generator, n: int, task: str, *, shift: float = 0.0, turn: float = 0.0, strength: float = 1.0
) -> tuple[Any, Any]:
    """Features and labels. `shift` moves the first feature, `turn` turns the concept (radians), `strength` is the signal's."""
    X = rng.normal(size=(n, 5))
    X[:, 0] += shift
    X[:, 1] *= 1 + 0.3 * shift
    signal = 1.2 * X[:, 0] - X[:, 1] + 0.8 * X[:, 2] * X[:, 3] + 0.5 * np.sin(2 * X[:, 4])
    if turn:
        signal = np.cos(turn) * signal + np.sin(turn) * (1.5 * X[:, 2] - 1.2 * X[:, 0])
    signal = strength * signal
    if task == "regression":
        return X, 1.5 * signal + rng.normal(size=n) * (0.4 + 0.5 * np.abs(X[:, 0]))
    if task == "binary":
        return X, (rng.random(n) < 1 / (1 + np.exp(-1.3 * signal))).astype(int)
    odds = np.exp(np.stack([1.2 * signal, X[:, 1] - signal, 0.9 * X[:, 3] - 0.3 * signal], axis=1))
    upto = (odds / odds.sum(axis=1, keepdims=True)).cumsum(axis=1)
    return X, (upto > rng.random((n, 1))).argmax(axis=1)


def drawn_with(rng: np.random.Generator, n: int, task: str, shares: np.ndarray, strength: float) -> tuple[Any, Any]:
    """Rows of the same concept with other shares of the classes."""
    X, y = draw(rng, 10 * n, task, strength=strength)
    wanted = rng.multinomial(n, shares)
    rows = np.concatenate([rng.choice(np.flatnonzero(y == k), c, replace=False) for k, c in enumerate(wanted)])
    rows = rng.permutation(rows)
    return X[rows], y[rows]


def learnt(rng: np.random.Generator, task: str, kind: str) -> Any:
    """The model whose scores are estimated."""
    from sklearn.ensemble import HistGradientBoostingClassifier, HistGradientBoostingRegressor
    from sklearn.linear_model import LogisticRegression

    X, y = draw(rng, 3_000, task, strength=WEAK if kind == "weak" else 1.0)
    if task == "regression":
        return HistGradientBoostingRegressor(max_iter=60, random_state=0).fit(X, y)
    if kind == "miscalibrated":
        return HistGradientBoostingClassifier(max_iter=300, learning_rate=0.3, random_state=0).fit(X, y)
    if rng.random() < 0.5:
        return LogisticRegression(max_iter=500).fit(X, y)
    return HistGradientBoostingClassifier(max_iter=50, random_state=0).fit(X, y)


def table(model: Any, task: str, X: np.ndarray, y: np.ndarray) -> pd.DataFrame:
    """Rows as the estimator takes them, with their labels."""
    frame = pd.DataFrame(X, columns=[f"f{j}" for j in range(X.shape[1])])
    if task == "regression":
        return frame.assign(y_pred=model.predict(X), y_true=y)
    proba = model.predict_proba(X)
    if task == "binary":
        frame["p"] = proba[:, 1]
    else:
        frame[[f"p_{k}" for k in range(proba.shape[1])]] = proba
    return frame.assign(y_pred=proba.argmax(axis=1), y_true=y)


def simulated(kind: str, task: str, seed: int) -> tuple[pd.DataFrame, list[pd.DataFrame]]:
    """The reference and the chunks of one kind of shift."""
    rng = np.random.default_rng(seed)
    model = learnt(rng, task, kind)
    n_reference, n = {"small": (800, 500), "weak": (8_000, 500)}.get(kind, (8_000, 2_000))
    strength = WEAK if kind == "weak" else 1.0
    reference = table(model, task, *draw(rng, n_reference, task, strength=strength))
    chunks = []
    for step in np.linspace(0, 1, CHUNKS):
        if kind in ("label", "weak"):
            k = CLASSES[task]
            before = np.bincount(reference["y_true"], minlength=k) / len(reference)
            after = np.full(k, 0.1)
            after[0] = 1 - after[1:].sum()
            rows = drawn_with(rng, n, task, (1 - step) * before + step * after, strength)
        elif kind == "concept":
            rows = draw(rng, n, task, turn=2.0 * step)
        else:
            rows = draw(rng, n, task, shift=0.0 if kind == "none" else 1.6 * step)
        chunks.append(table(model, task, *rows))
    return reference, chunks


def realised(task: str, chunk: pd.DataFrame, metric: str) -> float:
    """What the labels say."""
    from sklearn import metrics

    y, pred = chunk["y_true"].to_numpy(), chunk["y_pred"].to_numpy()
    if metric == "mae":
        return float(np.abs(y - pred).mean())
    if metric == "rmse":
        return float(np.sqrt(((y - pred) ** 2).mean()))
    if metric == "accuracy":
        return float((y == pred).mean())
    if metric == "kappa":
        return float(metrics.cohen_kappa_score(y, pred))
    if metric in ("f1", "macro_f1"):
        return float(metrics.f1_score(y, pred, average="binary" if task == "binary" else "macro"))
    if task == "binary":
        proba = np.stack([1 - chunk["p"], chunk["p"]], axis=1)
    else:
        proba = chunk[[f"p_{k}" for k in range(CLASSES[task])]].to_numpy()
    if metric == "log_loss":
        return float(-np.log(np.clip(proba[np.arange(len(y)), y], 1e-5, 1)).mean())
    if task == "binary":
        return float(metrics.roc_auc_score(y, proba[:, 1]))
    return float(metrics.roc_auc_score(y, proba, multi_class="ovr"))


def peer(task: str, reference: pd.DataFrame, chunks: list[pd.DataFrame]) -> dict[str, list[float]]:
    """NannyML's estimates, metric -> one a chunk; empty where it is not installed."""
    os.environ.setdefault("NML_DISABLE_USAGE_LOGGING", "1")  # else it sends usage to its makers
    try:
        import nannyml
    except ImportError:
        return {}
    rows = pd.concat(chunks, ignore_index=True)
    if task == "regression":
        names = ["mae", "rmse"]
        features = [c for c in reference if str(c).startswith("f")]
        made = nannyml.DLE(
            feature_column_names=features, y_pred="y_pred", y_true="y_true", metrics=names, chunk_size=len(chunks[0])
        )
    else:
        names = ["accuracy", "f1", "roc_auc"]
        proba: Any = "p" if task == "binary" else {k: f"p_{k}" for k in range(CLASSES[task])}
        made = nannyml.CBPE(
            y_pred="y_pred", y_true="y_true", y_pred_proba=proba, metrics=names, chunk_size=len(chunks[0]),
            problem_type=f"classification_{task}",
        )  # fmt: skip
    made.fit(reference)
    found = made.estimate(rows).filter(period="analysis").to_df()
    ours = {"f1": "macro_f1"} if task == "multiclass" else {}
    return {ours.get(name, name): found[(name, "value")].tolist() for name in names}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=2)
    parser.add_argument("--kinds", default=",".join(KINDS))
    args = parser.parse_args()
    ratios: dict[str, list[float]] = defaultdict(list)
    print(
        f"{'shift':14} {'task':11} {'error':>8} {'/ NannyML':>10} {'covered':>8} {'refuted':>8} {'CPU s / 1,000 rows':>19}"
    )
    for kind in args.kinds.split(","):
        for task in TASKS:
            if task == "regression" and kind in ("label", "weak", "miscalibrated"):
                continue
            errors: list[float] = []
            against: list[float] = []
            covered: list[bool] = []
            refuted: list[bool] = []
            seconds = rows = 0.0
            for seed in range(args.seeds):
                reference, chunks = simulated(kind, task, seed)
                theirs = peer(task, reference, chunks)
                estimator = fit_estimator(reference, task=task)
                missed: dict[str, list[tuple[float, float | None]]] = defaultdict(list)
                for i, chunk in enumerate(chunks):
                    unlabelled = chunk.drop(columns="y_true")
                    started = time.process_time()
                    estimates = {m: estimator.estimate(unlabelled, m) for m in ESTIMATED[task]}
                    seconds += time.process_time() - started
                    rows += len(chunk)
                    for metric, found in estimates.items():
                        truth = realised(task, chunk, metric)
                        assert found.value is not None and found.low is not None and found.high is not None
                        covered.append(found.low <= truth <= found.high)
                        refuted.append(estimator.grade(unlabelled, metric, truth).trusted is False)
                        other = abs(theirs[metric][i] - truth) if metric in theirs else None
                        missed[metric].append((abs(found.value - truth), other))
                for pairs in missed.values():
                    errors.append(float(np.mean([own for own, _ in pairs])))
                    known = [other for _, other in pairs if other is not None]
                    if known:
                        against.append(errors[-1] / float(np.mean(known)))
            ratio = f"{np.exp(np.mean(np.log(against))):.2f}" if against else "-"
            if kind not in ("none", "concept"):
                ratios["all"] += against
            print(
                f"{kind:14} {task:11} {np.mean(errors):8.4f} {ratio:>10} {np.mean(covered):8.2f} {np.mean(refuted):8.2f} "
                f"{seconds / rows * 1_000:19.3f}",
                flush=True,
            )
    if ratios["all"]:
        print(f"geometric mean without concept drift: {np.exp(np.mean(np.log(ratios['all']))):.3f} of NannyML's error")


if __name__ == "__main__":
    main()
