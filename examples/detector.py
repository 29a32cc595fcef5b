"""Train torchvision's FasterRCNN on synthetic scenes, from an exported backbone and from the same network untrained.

    crackdet export best --to backbone
    python examples/detector.py backbone --steps 200 --seeds 3

Both train on the same scenes in the same order for the same number of steps. Average precision and recall (at most ten
boxes per image) at IoU 0.5 are measured on separate test scenes. Needs torchmetrics and pycocotools.
"""

import argparse
import time

import scenes
import torch
from torch import Tensor, nn
from torchmetrics.detection import MeanAveragePrecision
from torchvision.models.detection import FasterRCNN
from torchvision.models.detection.faster_rcnn import FastRCNNPredictor, TwoMLPHead

import crackdet
from crackdet.core.errors import UserError

SIZE = 128  # of a scene, pixels a side
HEAD_FEATURES = 256  # per region, a quarter of torchvision's
TEST_SEED = 1_000_000  # no training uses it


def main() -> None:
    options = parse_arguments()
    print("seed  start      AP at 0.5  recall  seconds", flush=True)
    by_start: dict[str, list[float]] = {start: [] for start in options.starts}
    for seed in range(options.first_seed, options.first_seed + options.seeds):
        for start, precisions in by_start.items():
            begin = time.perf_counter()
            detector = train(build(options, start == "untrained", seed), options, seed)
            precision, recall = evaluate(detector, options.test_scenes)
            precisions.append(precision)
            print(
                f"{seed:4}  {start:9}  {precision:9.3f}  {recall:6.3f}  {time.perf_counter() - begin:7.0f}", flush=True
            )
    for start, precisions in by_start.items():
        values = torch.tensor(precisions)
        print(f"{start}: AP {values.mean():.3f}, from {values.min():.3f} to {values.max():.3f}")


def build(options: argparse.Namespace, untrained: bool, seed: int) -> FasterRCNN:
    """Build a detector for small scenes; an untrained backbone also trains its batch normalization."""
    torch.manual_seed(seed)
    backbone = crackdet.load_backbone(
        options.folder,
        pyramid=options.pyramid,
        trainable_stages=None if untrained else options.trainable_stages,
        freeze_batchnorm=not untrained,
        untrained=untrained,
    )
    return FasterRCNN(
        backbone,
        rpn_anchor_generator=backbone.anchors(smallest=16),
        min_size=SIZE,
        max_size=SIZE,
        rpn_pre_nms_top_n_train=400,
        rpn_post_nms_top_n_train=100,
        rpn_pre_nms_top_n_test=400,
        rpn_post_nms_top_n_test=50,
        box_batch_size_per_image=32,
        box_detections_per_img=10,
        box_head=head(backbone.out_channels * 7**2),
        box_predictor=FastRCNNPredictor(HEAD_FEATURES, num_classes=2),
    )


def head(channels: int) -> nn.Sequential:
    """Build torchvision's head behind a layer norm, since the scale of maps differs between networks."""
    return nn.Sequential(nn.Flatten(), nn.LayerNorm(channels), TwoMLPHead(channels, HEAD_FEATURES))


def train(detector: FasterRCNN, options: argparse.Namespace, seed: int) -> FasterRCNN:
    trainable = [parameter for parameter in detector.parameters() if parameter.requires_grad]
    optimizer = torch.optim.AdamW(trainable, lr=options.learning_rate)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, options.learning_rate, options.steps, pct_start=0.1)
    detector.train()
    for step in range(options.steps):
        batch = [scene(index, seed) for index in range(step * options.batch, (step + 1) * options.batch)]
        losses = detector([image for image, _ in batch], [target for _, target in batch])
        optimizer.zero_grad()
        sum(losses.values()).backward()
        torch.nn.utils.clip_grad_norm_(trainable, 5.0)
        optimizer.step()
        schedule.step()
    return detector


@torch.no_grad()
def evaluate(detector: FasterRCNN, test_scenes: int) -> tuple[float, float]:
    """Return average precision and recall at IoU 0.5."""
    metric = MeanAveragePrecision(iou_thresholds=[0.5], max_detection_thresholds=[1, 10, 100])
    detector.eval()
    for index in range(test_scenes):
        image, target = scene(index, TEST_SEED)
        metric.update(detector([image]), [target])
    result = metric.compute()
    return float(result["map"]), float(result["mar_10"])


def scene(index: int, seed: int) -> tuple[Tensor, dict[str, Tensor]]:
    generated = scenes.draw(index, seed=seed + 1, tile_size=SIZE // 2)
    boxes = torch.from_numpy(generated.boxes)
    image = torch.from_numpy(generated.image).permute(2, 0, 1) / 255
    return image, {"boxes": boxes, "labels": torch.ones(len(boxes), dtype=torch.int64)}


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", help="folder written by crackdet export")
    parser.add_argument("--steps", type=int, default=200)
    parser.add_argument("--batch", type=int, default=4, help="scenes per step")
    parser.add_argument(
        "--seeds", type=int, default=3, help="number of repetitions with other scenes and random weights"
    )
    parser.add_argument("--first-seed", type=int, default=0)
    parser.add_argument("--starts", nargs="+", choices=["exported", "untrained"], default=["exported", "untrained"])
    parser.add_argument("--learning-rate", type=float, default=1e-3)
    parser.add_argument("--trainable-stages", type=int, help="of the exported backbone; all if not given")
    parser.add_argument("--pyramid", action="store_true", help="add a feature pyramid")
    parser.add_argument("--test-scenes", type=int, default=60)
    return parser.parse_args()


if __name__ == "__main__":
    try:
        main()
    except UserError as error:
        raise SystemExit(f"error: {error}") from None
