"""Networks of torchvision."""

from typing import Any

from torch import nn
from torchvision import models
from torchvision.models import feature_extraction, resnet, swin_transformer, vgg
from torchvision.models.convnext import CNBlockConfig
from torchvision.models.video import resnet as video

from ._entry import NO_LINEAR, WHICH_AXIS, Entry, Place, normal, pictures

K = 7  # classes
NAMES: dict[str, Any] = {"weights": None, "num_classes": K}
FC, CLASSIFIER = Place("fc"), Place("classifier")
OUTPUT = Place("")
SWIN: dict[str, Any] = {
    "patch_size": [4, 4],
    "embed_dim": 16,
    "depths": [2, 2],
    "num_heads": [2, 4],
    "window_size": [4, 4],
    "num_classes": K,
}


def _vgg() -> nn.Module:
    """Build a VGG with a head of one's own, as in transfer learning."""
    network = models.VGG(vgg.make_layers(vgg.cfgs["A"], batch_norm=True), init_weights=False)
    network.avgpool = nn.AdaptiveAvgPool2d(1)
    network.classifier = nn.Sequential(nn.Linear(512, 16), nn.ReLU(True), nn.Linear(16, K))
    return network


def _graph() -> nn.Module:
    """Build a graph of two layers of a ShuffleNet; it keeps the BatchNorm of both modes."""
    network = models.shufflenet_v2_x0_5(**NAMES)
    return feature_extraction.create_feature_extractor(network, {"stage3": "map", "fc": "scores"})


def _convnext() -> nn.Module:
    settings = [CNBlockConfig(16, 32, 1), CNBlockConfig(32, None, 1)]
    return models.ConvNeXt(settings, num_classes=K)


def _swin_v2() -> nn.Module:
    block, merging = swin_transformer.SwinTransformerBlockV2, swin_transformer.PatchMergingV2
    return models.SwinTransformer(**SWIN, block=block, downsample_layer=merging)


def _video() -> nn.Module:
    convolutions = [video.Conv3DSimple] * 4
    return video.VideoResNet(
        video.BasicBlock, convolutions, [1, 1, 1, 1], video.BasicStem, num_classes=K
    )


def _bottlenecks() -> nn.Module:
    return resnet.ResNet(
        resnet.Bottleneck, [1, 1, 1, 1], num_classes=K, groups=8, width_per_group=4
    )


def _lraspp() -> nn.Module:
    return models.segmentation.lraspp_mobilenet_v3_large(weights_backbone=None, **NAMES)


ENTRIES = [
    Entry(
        "ResNet",
        lambda: resnet.ResNet(resnet.BasicBlock, [1, 1, 1, 1], num_classes=K),
        pictures(64),
        OUTPUT,
        FC,
        Place("layer3.0.bn1", "first"),
    ),
    Entry("ResNeXt", _bottlenecks, pictures(64), OUTPUT, FC, Place("layer2", "first")),
    Entry(
        "VGG, head replaced",
        _vgg,
        pictures(32),
        OUTPUT,
        Place("classifier.2"),
        Place("features.10", "first"),
    ),
    Entry(
        "SqueezeNet",
        lambda: models.squeezenet1_1(**NAMES),
        pictures(64),
        OUTPUT,
        Place("features", "first", refusal=NO_LINEAR, cure={"layer": "features"}),
        Place("features.5", "first"),
    ),
    Entry(
        "DenseNet",
        lambda: models.DenseNet(8, (2, 2, 2, 2), 16, num_classes=K),
        pictures(64),
        OUTPUT,
        CLASSIFIER,
        Place("features.norm5", "first"),
    ),
    Entry(
        "GoogLeNet with auxiliary heads",
        lambda: models.GoogLeNet(num_classes=K, init_weights=False),
        pictures(64),
        OUTPUT,
        FC,
        Place("inception4a", "first"),
    ),
    Entry(
        "MobileNetV2",
        lambda: models.mobilenet_v2(width_mult=0.35, **NAMES),
        pictures(64),
        OUTPUT,
        Place("classifier.1"),
        Place("features.8", "first"),
    ),
    Entry(
        "MobileNetV3",
        lambda: models.mobilenet_v3_small(width_mult=0.5, **NAMES),
        pictures(64),
        OUTPUT,
        Place("classifier.3"),
        Place("features.4.block.2", "first"),
    ),
    Entry(
        "ShuffleNetV2",
        lambda: models.shufflenet_v2_x0_5(**NAMES),
        pictures(64),
        OUTPUT,
        FC,
        Place("stage3", "first"),
    ),
    Entry(
        "ShuffleNetV2 as a graph of two layers",
        _graph,
        pictures(64),
        Place("", "first", "map"),
        FC,
        Place("stage2.1.branch2.1", "first"),
    ),
    Entry(
        "MNASNet",
        lambda: models.mnasnet0_5(**NAMES),
        pictures(64),
        OUTPUT,
        Place("classifier.1"),
        Place("layers.9", "first"),
    ),
    Entry(
        "EfficientNet",
        lambda: models.efficientnet_b0(**NAMES),
        pictures(64),
        OUTPUT,
        Place("classifier.1"),
        Place("features.4", "first"),
    ),
    Entry(
        "RegNet",
        lambda: models.regnet_y_400mf(**NAMES),
        pictures(64),
        OUTPUT,
        FC,
        Place("trunk_output.block2", "first"),
    ),
    Entry(
        "ConvNeXt",
        _convnext,
        pictures(64),
        OUTPUT,
        Place("classifier.2"),
        Place("features.1.0.block.3", "last"),
    ),
    Entry(
        "Swin",
        lambda: models.SwinTransformer(**SWIN),
        pictures(64),
        OUTPUT,
        Place("head"),
        Place("norm", "last"),
    ),
    Entry("Swin V2", _swin_v2, pictures(64), OUTPUT, Place("head"), Place("features.1", "last")),
    Entry(
        "ViT",
        lambda: models.VisionTransformer(32, 8, 2, 2, 32, 64, num_classes=K),
        pictures(32),
        OUTPUT,
        Place("heads.head"),
        Place("encoder.layers.encoder_layer_0", "last"),
    ),
    Entry(
        "MaxViT",
        lambda: models.MaxVit((64, 64), 16, 2, [16, 32], [1, 1], 8, 0.0, num_classes=K),
        pictures(64),
        OUTPUT,
        Place("classifier.5"),
        Place("blocks.0", "first", refusal=WHICH_AXIS, cure={"channel_axis": 1}),
    ),
    Entry(
        "LR-ASPP (segmentation)",
        _lraspp,
        pictures(64),
        Place("", "first", takes="out"),
        Place("classifier.cbr", "first", refusal=NO_LINEAR, cure={"layer": "classifier.cbr"}),
        Place("backbone.6", "first"),
    ),
    Entry(
        "ResNet 3D (video)",
        _video,
        lambda: normal(3, 4, 32, 32),
        OUTPUT,
        FC,
        Place("layer2", "first"),
    ),
]
