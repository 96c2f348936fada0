"""Networks of transformers for pictures, sound, video and series."""

from typing import Any

import numpy as np
import torch

from ._entry import Entry, Place, normal, pictures
from ._text import SIZES, make, tokens

BODY = {
    name: SIZES[name] for name in SIZES if not name.endswith("token_id") and name != "vocab_size"
}
VISION: dict[str, Any] = {**BODY, "image_size": 32, "patch_size": 8, "num_labels": 7}
WAVES: dict[str, Any] = {
    **BODY,
    "conv_dim": (16, 16, 16),
    "conv_stride": (5, 4, 4),
    "conv_kernel": (10, 8, 4),
    "num_feat_extract_layers": 3,
    "num_conv_pos_embeddings": 16,
    "num_conv_pos_embedding_groups": 4,
    "num_labels": 7,
    "classifier_proj_size": 16,
}
LOGITS, STATES = Place("", takes="logits"), Place("", "last", takes="last_hidden_state")
STAGES: dict[str, Any] = {
    "hidden_sizes": [8, 16, 32, 64],
    "depths": [1, 1, 1, 1],
    "num_labels": 7,
}
SWIN: dict[str, Any] = {
    "image_size": 64,
    "patch_size": 4,
    "embed_dim": 16,
    "depths": [2, 2],
    "num_heads": [2, 4],
    "window_size": 4,
    "num_labels": 7,
}
PIXELS = pictures(32)


def _named() -> dict[str, np.ndarray]:
    return {"pixel_values": PIXELS()}


def _both() -> dict[str, np.ndarray]:
    return {**tokens(), **_named()}


def _waves() -> np.ndarray:
    return normal(3200)


def _padded_waves() -> dict[str, np.ndarray]:
    """Return sounds of several lengths, padded; the network has one frame for 80 values."""
    mask = (np.arange(3200) < np.array([[3200], [1600], [2400], [800]])).astype(np.int64)
    return {"input_values": np.where(mask, _waves(), np.float32(0)), "attention_mask": mask}


def mean_of_frames(frames: torch.Tensor) -> torch.Tensor:
    """Pool frames (n, t, c), padding included."""
    return frames.mean(1)


_DINO: dict[str, Any] = {
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "image_size": 28,
    "patch_size": 14,
    "num_labels": 7,
}
_CLIP: dict[str, Any] = {
    "text_config": {**SIZES, "max_position_embeddings": 16},
    "vision_config": {**BODY, "image_size": 32, "patch_size": 8},
    "projection_dim": 16,
}

ENTRIES = [
    Entry(
        "ViT",
        make("ViTForImageClassification", "ViTConfig", **VISION),
        _named,
        LOGITS,
        Place("classifier"),
        Place("vit.layers.0", "last"),
    ),
    Entry(
        "ViT without a head",
        make("ViTModel", "ViTConfig", **VISION),
        PIXELS,
        STATES,
        Place("pooler.dense"),
        Place("layers.1.mlp.fc1", "last"),
    ),
    Entry(
        "ViT-MAE, tokens in random order",
        make("ViTMAEModel", "ViTMAEConfig", mask_ratio=0.0, **VISION),
        PIXELS,
        STATES,
        Place("layers.1.mlp.fc2", "last"),
        Place("layers.0", "last"),
    ),
    Entry(
        "DINOv2",
        make("Dinov2Model", "Dinov2Config", **_DINO),
        pictures(28),
        STATES,
        Place("encoder.layer.1.mlp.fc2", "last"),
        Place("encoder.layer.0", "last"),
    ),
    Entry(
        "DINOv2 with a head",
        make("Dinov2ForImageClassification", "Dinov2Config", **_DINO),
        pictures(28),
        LOGITS,
        Place("classifier"),
        Place("dinov2.layernorm", "last"),
    ),
    Entry(
        "DeiT, distilled",
        make("DeiTForImageClassificationWithTeacher", "DeiTConfig", **VISION),
        PIXELS,
        LOGITS,
        Place("distillation_classifier"),
        Place("deit.layernorm", "last"),
    ),
    Entry(
        "Swin",
        make("SwinForImageClassification", "SwinConfig", **SWIN),
        pictures(64),
        LOGITS,
        Place("classifier"),
        Place("swin.encoder.layers.0.blocks.0", "last"),
    ),
    Entry(
        "ConvNeXt",
        make("ConvNextForImageClassification", "ConvNextConfig", **STAGES),
        pictures(64),
        LOGITS,
        Place("classifier"),
        Place("convnext.encoder.stages.1.layers.0.pwconv1", "last"),
    ),
    Entry(
        "ResNet",
        make("ResNetModel", "ResNetConfig", embedding_size=8, **STAGES),
        pictures(64),
        Place("", "first", takes="last_hidden_state"),
        Place("pooler", refusal="name a layer", cure={"layer": "pooler"}),
        Place("encoder.stages.1", "first"),
    ),
    Entry(
        "SegFormer (segmentation)",
        make(
            "SegformerForSemanticSegmentation",
            "SegformerConfig",
            decoder_hidden_size=16,
            **STAGES,
        ),
        pictures(64),
        Place("", "first", takes="logits"),
        Place("decode_head.linear_projections.3.proj", "last"),
        Place("segformer.stages.0.blocks.0", "last"),
    ),
    Entry(
        "CLIP picture tower",
        make("CLIPVisionModelWithProjection", "CLIPVisionConfig", projection_dim=16, **VISION),
        PIXELS,
        Place("", takes="image_embeds"),
        Place("visual_projection"),
        Place("vision_model.encoder.layers.0", "last"),
    ),
    Entry(
        "CLIP, both towers",
        make("CLIPModel", "CLIPConfig", **_CLIP),
        _both,
        Place(
            "visual_projection",
            refusal="it compares samples with each other. Name a layer",
            cure={"layer": "visual_projection"},
        ),
        Place("text_projection"),
        Place("text_model.encoder.layers.0", "masked"),
    ),
    Entry(
        "SigLIP picture tower",
        make("SiglipVisionModel", "SiglipVisionConfig", **VISION),
        PIXELS,
        STATES,
        Place("head.mlp.fc2"),
        Place("encoder.layers.0", "last"),
    ),
    Entry(
        "VideoMAE (video)",
        make("VideoMAEForVideoClassification", "VideoMAEConfig", num_frames=4, **VISION),
        lambda: normal(4, 3, 32, 32),
        LOGITS,
        Place("classifier"),
        Place("videomae.encoder.layer.0", "last"),
    ),
    Entry(
        "wav2vec2",
        make("Wav2Vec2ForSequenceClassification", "Wav2Vec2Config", **WAVES),
        _waves,
        LOGITS,
        Place("classifier"),
        Place("wav2vec2.feature_extractor.conv_layers.1", "first"),
    ),
    Entry(
        "wav2vec2 without a head",
        make("Wav2Vec2Model", "Wav2Vec2Config", **WAVES),
        lambda: {"input_values": _waves()},
        STATES,
        Place("encoder.layers.1.feed_forward.output_dense", "last"),
        Place("encoder.layers.0", "last"),
    ),
    Entry(
        "wav2vec2, padded sounds",
        make("Wav2Vec2ForSequenceClassification", "Wav2Vec2Config", **WAVES),
        _padded_waves,
        LOGITS,
        Place("classifier"),
        Place(
            "wav2vec2.encoder.layers.0",
            "last",
            refusal="it is not known which of them are padding",
            cure={"pooling": mean_of_frames},
        ),
    ),
    Entry(
        "HuBERT",
        make("HubertForSequenceClassification", "HubertConfig", **WAVES),
        _waves,
        LOGITS,
        Place("classifier"),
        Place("hubert.encoder.layers.1", "last"),
    ),
    Entry(
        "Audio Spectrogram Transformer",
        make(
            "ASTForAudioClassification",
            "ASTConfig",
            patch_size=8,
            num_mel_bins=32,
            max_length=64,
            num_labels=7,
            **BODY,
        ),
        lambda: normal(64, 32),
        LOGITS,
        Place("classifier.dense"),
        Place("audio_spectrogram_transformer.layers.0", "last"),
    ),
    Entry(
        "Whisper encoder",
        make(
            "WhisperForAudioClassification",
            "WhisperConfig",
            d_model=32,
            encoder_layers=2,
            encoder_attention_heads=2,
            encoder_ffn_dim=64,
            num_mel_bins=16,
            max_source_positions=50,
            num_labels=7,
            classifier_proj_size=16,
        ),
        lambda: {"input_features": 10 * normal(16, 100)},
        LOGITS,
        Place("classifier"),
        Place("encoder.layers.0", "last"),
    ),
    Entry(
        "PatchTST (series)",
        make(
            "PatchTSTForClassification",
            "PatchTSTConfig",
            num_input_channels=3,
            context_length=32,
            patch_length=8,
            patch_stride=8,
            d_model=16,
            num_hidden_layers=2,
            num_attention_heads=2,
            ffn_dim=32,
            num_targets=7,
        ),
        lambda: normal(32, 3),
        Place("", takes="prediction_logits"),
        Place("head.linear"),
        Place("model", "last", takes="last_hidden_state"),
    ),
]
