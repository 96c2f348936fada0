"""Networks of timm."""

from collections.abc import Callable
from functools import partial
from typing import Any

import timm
from timm.models.metaformer import MetaFormer
from timm.models.mlp_mixer import MlpMixer
from torch import nn

from ._entry import NO_LINEAR, Entry, Place, pictures

K = 7  # classes
OUTPUT = Place("")
HEAD, HEAD_FC = Place("head"), Place("head.fc")
VIT: dict[str, Any] = {"depth": 2, "embed_dim": 32, "num_heads": 2}


def _make(name: str, **parameters: Any) -> Callable[[], nn.Module]:
    return partial(timm.create_model, name, pretrained=False, num_classes=K, **parameters)


def _entry(  # noqa: PLR0917 - most of them differ in their modules' names only
    title: str,
    build: Callable[[], nn.Module],
    penultimate: Place,
    inside: Place,
    size: int = 64,
    output: Place = OUTPUT,
) -> Entry:
    return Entry(title, build, pictures(size), output, penultimate, inside)


def _maps() -> nn.Module:
    return timm.create_model("mobilenetv3_small_050", pretrained=False, features_only=True)


def _mixer() -> nn.Module:
    return MlpMixer(num_classes=K, img_size=64, patch_size=16, num_blocks=2, embed_dim=32)


def _poolformer() -> nn.Module:
    return MetaFormer(num_classes=K, depths=(1, 1, 1, 1), dims=(8, 16, 32, 64))


_NARROW: dict[str, Any] = {"depths": (1, 1, 1, 1), "dims": (8, 16, 32, 64)}

ENTRIES = [
    _entry("ResNet-T", _make("resnet10t"), Place("fc"), Place("layer3", "first")),
    _entry(
        "MobileNetV3, head outside",
        _make("mobilenetv3_small_050"),
        Place("classifier"),
        Place("blocks.3", "first"),
    ),
    _entry(
        "MobileNetV3, maps only",
        _maps,
        Place("blocks.1", "first", refusal=NO_LINEAR, cure={"layer": "blocks.1"}),
        Place("blocks.2.0.conv_dw", "first"),
        output=Place("", "first"),
    ),
    _entry(
        "EfficientNet Lite",
        _make("efficientnet_lite0"),
        Place("classifier"),
        Place("blocks.2.0.bn1", "first"),
    ),
    _entry("GhostNet", _make("ghostnet_050"), Place("classifier"), Place("blocks.4", "first")),
    _entry("RepVGG", _make("repvgg_a0"), HEAD_FC, Place("stages.1", "first")),
    _entry("NFNet", _make("test_nfnet"), HEAD_FC, Place("stages.1", "first")),
    _entry("VoVNet", _make("ese_vovnet19b_dw"), HEAD_FC, Place("stages.1", "first")),
    _entry(
        "ConvNeXt", _make("convnext_atto", **_NARROW), HEAD_FC, Place("stages.1.blocks.0", "first")
    ),
    _entry(
        "ConvNeXt V2",
        _make("convnextv2_atto", use_grn=True, conv_mlp=False, **_NARROW),
        HEAD_FC,
        Place("stages.2.blocks.0.mlp.grn", "last"),
    ),
    _entry(
        "InceptionNeXt",
        _make("inception_next_atto", depths=(1, 1, 1, 1)),
        Place("head.fc2"),
        Place("stages.1.blocks.0.token_mixer", "first"),
    ),
    _entry(
        "ViT",
        _make("vit_tiny_patch16_224", img_size=32, patch_size=8, **VIT),
        HEAD,
        Place("blocks.0", "last"),
        32,
    ),
    _entry(
        "DeiT, distilled",
        _make("deit_tiny_distilled_patch16_224", img_size=32, patch_size=8, **VIT),
        Place("head_dist"),
        Place("norm", "last"),
        32,
    ),
    _entry(
        "DINOv2 with registers",
        _make("vit_small_patch14_reg4_dinov2", img_size=56, **VIT),
        HEAD,
        Place("blocks.1.attn", "last"),
        56,
    ),
    _entry(
        "BEiT",
        _make("beit_base_patch16_224", img_size=32, patch_size=8, **VIT),
        HEAD,
        Place("blocks.0.mlp", "last"),
        32,
    ),
    _entry(
        "EVA-02",
        _make("eva02_tiny_patch14_224", img_size=28, depth=2),
        HEAD,
        Place("blocks.0", "last"),
        28,
    ),
    _entry(
        "CaiT",
        _make("cait_xxs24_224", img_size=32, patch_size=8, **VIT),
        HEAD,
        Place("blocks.1", "last"),
        32,
    ),
    _entry(
        "XCiT",
        _make("xcit_nano_12_p16_224", img_size=64, depth=2),
        HEAD,
        Place("blocks.0", "last"),
    ),
    _entry(
        "MLP-Mixer",
        _mixer,
        HEAD,
        Place("blocks.0", "last"),
    ),
    _entry(
        "Swin",
        _make(
            "swin_tiny_patch4_window7_224",
            img_size=64,
            embed_dim=24,
            depths=(2, 2),
            num_heads=(2, 4),
            window_size=4,
        ),
        HEAD_FC,
        Place("layers.0", "last"),
    ),
    _entry(
        "PoolFormer",
        _poolformer,
        Place("head.fc.fc2"),
        Place("stages.1", "first"),
    ),
    _entry("PVT V2", _make("pvt_v2_b0"), HEAD, Place("stages.0.blocks.0", "last")),
    _entry(
        "EfficientFormer V2 (hybrid)",
        _make("efficientformerv2_s0", img_size=64),
        Place("head_dist"),
        Place("stages.2", "first"),
    ),
    _entry(
        "MobileViT (hybrid)",
        _make("mobilevit_xxs"),
        HEAD_FC,
        Place(
            "stages.2.1",
            "first",
            asked="stages.2.1.transformer.0",
            refusal="its first axis must be the sample",
            cure={"layer": "stages.2.1"},
        ),
    ),
    _entry(
        "CoAtNet (hybrid)",
        _make("coatnet_pico_rw_224", img_size=64),
        HEAD_FC,
        Place("stages.2.blocks.0", "first"),
    ),
    _entry(
        "EdgeNeXt (hybrid)",
        _make("edgenext_xx_small"),
        HEAD_FC,
        Place("stages.1.blocks.0.norm", "last"),
    ),
    _entry(
        "LeViT (hybrid)",
        _make("levit_128s", img_size=64),
        Place("head_dist.linear"),
        Place("stages.0.blocks.0", "last"),
    ),
    _entry("FastViT (hybrid)", _make("fastvit_t8"), HEAD_FC, Place("stages.1", "first")),
]
