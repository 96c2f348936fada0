"""Networks of transformers for text; X is what a tokenizer gives."""

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import transformers
from torch import nn

from ._entry import N_SAMPLES, Entry, Place

LENGTHS = [12, 8, 11, 5]  # tokens of each sample; the rest is padding
SIZES: dict[str, Any] = {
    "vocab_size": 100,
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "intermediate_size": 64,
    "pad_token_id": 0,
    "bos_token_id": 1,
    "eos_token_id": 2,
}
GPT2: dict[str, Any] = {
    "vocab_size": 100,
    "n_embd": 32,
    "n_layer": 2,
    "n_head": 2,
    "pad_token_id": 0,
    "bos_token_id": 1,
    "eos_token_id": 2,
}
LOGITS, STATES = Place("", takes="logits"), Place("", "masked", takes="last_hidden_state")


def tokens() -> dict[str, np.ndarray]:
    """Return numbers of tokens, padded to one length, and the mask that tells the padding."""
    mask = (np.arange(max(LENGTHS)) < np.array(LENGTHS)[:, None]).astype(np.int64)
    numbers = np.random.default_rng(0).integers(5, 90, (N_SAMPLES, max(LENGTHS)))
    return {"input_ids": numbers * mask, "attention_mask": mask}


def tokens_only() -> dict[str, np.ndarray]:
    """Return numbers of tokens of one length, without a mask."""
    return {"input_ids": np.random.default_rng(0).integers(5, 90, (N_SAMPLES, 12))}


def tokens_in_boxes() -> dict[str, np.ndarray]:
    """Return tokens and the boxes of each on a page."""
    boxes = np.sort(np.random.default_rng(1).integers(0, 50, (N_SAMPLES, 12, 4)))
    return {**tokens(), "bbox": boxes}


def make(network: str, config: str, **parameters: Any) -> Callable[[], nn.Module]:
    """Return a maker of a network of transformers with random weights."""
    return partial(_made, network, config, parameters)


def _made(network: str, config: str, parameters: dict[str, Any]) -> nn.Module:
    transformers.logging.set_verbosity_error()
    return getattr(transformers, network)(getattr(transformers, config)(**parameters))


def _classifier(name: str, penultimate: Place, inside: Place, **more: Any) -> Entry:
    parameters = {**SIZES, "num_labels": 7, **more}
    build = make(f"{name}ForSequenceClassification", f"{name}Config", **parameters)
    return Entry(name, build, tokens, LOGITS, penultimate, inside)


_DISTILBERT: dict[str, Any] = {"dim": 32, "n_layers": 2, "n_heads": 2, "hidden_dim": 64}

ENTRIES = [
    _classifier("Bert", Place("classifier"), Place("bert.encoder.layer.0", "masked")),
    Entry(
        "Bert without a head",
        make("BertModel", "BertConfig", **SIZES),
        tokens,
        STATES,
        Place("pooler.dense"),
        Place("embeddings.LayerNorm", "masked"),
    ),
    Entry(
        "Bert for masked words",
        make("BertForMaskedLM", "BertConfig", **SIZES),
        tokens,
        Place("", "masked", takes="logits"),
        Place("cls.predictions.decoder", "masked"),
        Place("bert.encoder.layer.1.attention", "masked"),
    ),
    Entry(
        "DistilBert",
        make(
            "DistilBertForSequenceClassification",
            "DistilBertConfig",
            vocab_size=100,
            num_labels=7,
            **_DISTILBERT,
        ),
        tokens,
        LOGITS,
        Place("classifier"),
        Place("distilbert.transformer.layer.1", "masked"),
    ),
    _classifier(
        "Roberta",
        Place("classifier.out_proj"),
        Place("roberta.encoder.layer.0.output.dense", "masked"),
    ),
    _classifier(
        "Albert",
        Place("classifier"),
        Place("albert.encoder.embedding_hidden_mapping_in", "masked"),
        embedding_size=16,
    ),
    _classifier(
        "Electra",
        Place("classifier.out_proj"),
        Place("electra.encoder.layer.0", "masked"),
        embedding_size=16,
    ),
    _classifier("DebertaV2", Place("classifier"), Place("deberta.encoder.layer.1", "masked")),
    _classifier(
        "ModernBert",
        Place("classifier"),
        Place("model.layers.0", "masked"),
        cls_token_id=1,
        sep_token_id=2,
    ),
    Entry(
        "LayoutLM",
        make("LayoutLMForSequenceClassification", "LayoutLMConfig", num_labels=7, **SIZES),
        tokens_in_boxes,
        LOGITS,
        Place("classifier"),
        Place("layoutlm.encoder.layer.0", "masked"),
    ),
    Entry(
        "T5 encoder",
        make(
            "T5EncoderModel",
            "T5Config",
            vocab_size=100,
            d_model=32,
            d_kv=16,
            d_ff=64,
            num_layers=2,
            num_heads=2,
        ),
        tokens,
        STATES,
        Place("encoder.block.1.layer.1.DenseReluDense.wo", "masked"),
        Place("encoder.block.0", "masked"),
    ),
    Entry(
        "GPT-2",
        make("GPT2ForSequenceClassification", "GPT2Config", num_labels=7, **GPT2),
        tokens,
        LOGITS,
        Place("score", "masked"),
        Place("transformer.h.0", "masked"),
    ),
    Entry(
        "GPT-2 for the next word",
        make("GPT2LMHeadModel", "GPT2Config", **GPT2),
        tokens,
        Place("", "masked", takes="logits"),
        Place("lm_head", "masked"),
        Place("transformer.ln_f", "masked"),
    ),
    _classifier("Llama", Place("score", "masked"), Place("model.layers.0.mlp", "masked")),
    Entry(
        "Mamba",
        make(
            "MambaModel",
            "MambaConfig",
            vocab_size=100,
            hidden_size=32,
            num_hidden_layers=2,
            state_size=4,
        ),
        tokens_only,
        Place("", "last", takes="last_hidden_state"),
        Place("layers.1.mixer.out_proj", "last"),
        Place("layers.0", "last"),
    ),
    Entry(
        "CLIP text tower",
        make(
            "CLIPTextModelWithProjection",
            "CLIPTextConfig",
            projection_dim=16,
            max_position_embeddings=16,
            **SIZES,
        ),
        tokens,
        Place("", takes="text_embeds"),
        Place("text_projection"),
        Place("text_model.encoder.layers.0", "masked"),
    ),
]
