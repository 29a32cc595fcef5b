"""How many regions per second a backbone turns into vectors: `python -m benchmarks.regions FOLDER`."""

import argparse
import time

import torch

import crackdet


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", help="the output of crackdet export")
    parser.add_argument("--regions", type=int, default=256)
    parser.add_argument("--batch-size", type=int, default=64)
    parser.add_argument("--repeats", type=int, default=5)
    options = parser.parse_args()
    backbone = crackdet.load_backbone(options.folder)
    sides = torch.randint(24, 200, (options.regions, 2), generator=torch.Generator().manual_seed(0)).tolist()
    regions = [torch.randint(256, (3, height, width), dtype=torch.uint8) for height, width in sides]
    backbone.features(regions[: options.batch_size], options.batch_size)  # warm-up
    seconds = []
    for _ in range(options.repeats):
        start = time.perf_counter()
        backbone.features(regions, options.batch_size)
        seconds.append(time.perf_counter() - start)
    size = backbone.description.image_size
    print(
        f"{backbone.description.run}: {options.regions / sorted(seconds)[len(seconds) // 2]:.0f} regions/s "
        f"(24 to 199 pixels a side, resized to {size} x {size}; median of {options.repeats}, "
        f"{torch.get_num_threads()} threads)"
    )


if __name__ == "__main__":
    main()
