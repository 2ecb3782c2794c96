"""Result rows of a finished run, with numbers whose means one can work out by hand."""

import math

import numpy as np
from oracles.finished_stores import HELD_OUT, SUBJECTS, WANTED

from rodin.store.results import write_rows
from rodin.store.run_folder import RunFolder

NO_LPIPS = "LPIPS: no weights; `rodin weights fetch` brings them"
MEASURED = ["red", "black", "brown", "brown", "red", "blond", "green", "red"]
CFG_PSNR = {1.0: [20.0, 22.0, 24.0], 1.2: [21.0, 22.0, 23.0], 1.5: [22.0, 22.0, 22.0], 3.0: [19.0, 20.0, 21.0]}
RECONSTRUCTION = {"rodin": [20.0, 22.0, 24.0], "mean person": [18.0, 19.0, 20.0], "nearest person": [19.0, 21.5, 22.0]}


def write_quality(run: RunFolder) -> None:
    fits = [
        {"stage": "fit", "subject": f"{number:06d}", "psnr": 20.0 + number, "ssim": 0.8, "seconds": 2.0, "steps": 20}
        for number in range(SUBJECTS)
    ]
    write_rows(run, "fit", 0, fits)
    for shard, (scale, values) in enumerate(CFG_PSNR.items()):
        write_rows(
            run,
            "sweep-cfg",
            shard,
            [
                {
                    "stage": "sweep-cfg",
                    "subject": f"{SUBJECTS + subject:06d}",
                    "guidance_scale": scale,
                    "psnr": psnr,
                    "ssim": 0.7 + psnr / 1000,
                    "lpips": None,
                    "lpips_reason": NO_LPIPS,
                }
                for subject, psnr in enumerate(values)
            ],
        )


def write_evaluation(run: RunFolder) -> None:
    rows = [
        {
            "stage": "evaluate",
            "subject": f"{SUBJECTS + subject:06d}",
            "method": method,
            "guidance_scale": 1.5,
            "psnr": psnr,
            "ssim": 0.8,
            "lpips": None,
            "lpips_reason": NO_LPIPS,
        }
        for method, values in RECONSTRUCTION.items()
        for subject, psnr in enumerate(values)
    ]
    rows += [
        {
            "stage": "neighbours",
            "sample": f"unconditional-{number:05d}",
            "neighbours": [f"{(number + step) % SUBJECTS:06d}" for step in (1, 3, 4)],
            "similarity": [0.9 - number / 100, 0.8, 0.7],
        }
        for number in range(8)
    ]
    for number, (wanted, measured) in enumerate(zip(WANTED, MEASURED, strict=True)):
        attribute = "shirt" if number >= 6 else "hair"
        rows.append(
            {
                "stage": "prompts",
                "prompt": f"a person with {wanted} {attribute}",
                "attribute": attribute,
                "wanted": wanted,
                "measured": measured,
                "hit": wanted == measured,
                "sample": f"prompt-{number:05d}",
            }
        )
    rows += [{"stage": "prompts-check", "attribute": "hair", "accuracy": 0.9, "subjects": SUBJECTS}]
    rows += [{"stage": "prompts-check", "attribute": "shirt", "accuracy": 0.7, "subjects": SUBJECTS}]
    features = "CLIP image embedding"
    rows += [{"stage": "frechet", "value": 0.25, "samples": 8, "subjects": SUBJECTS, "features": features}]
    write_rows(run, "evaluate", 0, rows)


def write_retrieval(run: RunFolder) -> None:
    row = {"stage": "clip-retrieval", "subjects": "held-out", "views": "not fitted", "count": HELD_OUT, "chance": 1 / 3}
    write_rows(run, "clip-retrieval", 0, [row | {"image_to_text": 0.75, "text_to_image": 1.0}])


def write_costs(run: RunFolder) -> None:
    for shard, seconds in enumerate([10.0, 14.0]):
        write_rows(
            run,
            "timing-fit",
            shard,
            [{"stage": "timing", "name": "fit", "shard": shard, "seconds": seconds, "peak_rss_mb": 500.0 + shard}],
        )
    write_rows(
        run, "timing-base", 0, [{"stage": "timing", "name": "base", "shard": 0, "seconds": 100.0, "peak_rss_mb": 800.0}]
    )
    generator = np.random.default_rng(0)
    for stage, start in (("base", 1.0), ("upsample", 0.2), ("latent", 1.0), ("prior", 1.0)):
        rows = [
            {
                "stage": stage,
                "step": step,
                "samples": 8 * step,
                "loss": float(start * (0.1 + 0.9 * math.exp(-step / 60)) * generator.uniform(0.9, 1.1)),
                "grad_norm": 1.0,
                "samples_per_second": 50.0,
            }
            for step in range(10, 301, 10)
        ]
        write_rows(run, stage, 0, rows)


def write_sweeps(run: RunFolder) -> None:
    for name, values in (("sweep-resolution", (16, 32, 64)), ("sweep-views", (6, 12, 21))):
        for shard, value in enumerate(values):
            write_rows(
                run,
                name,
                shard,
                [
                    {
                        "stage": name,
                        "subject": f"{subject:06d}",
                        "value": value,
                        "psnr": 18.0 + 2 * shard + subject,
                        "ssim": 0.8,
                        "seconds": 2.0 + shard,
                        "megabytes": value**2 / 1000,
                        "peak_megabytes": 500.0 + value,
                    }
                    for subject in range(2)
                ],
            )
    for shard, (roll_out, aware) in enumerate([(False, False), (True, False), (False, True), (True, True)]):
        write_rows(
            run,
            "sweep-convolution",
            shard,
            [
                {
                    "stage": "sweep-convolution",
                    "subject": f"{subject:06d}",
                    "roll_out": roll_out,
                    "aware": aware,
                    "psnr": 20.0 + shard + subject,
                    "ssim": 0.8,
                }
                for subject in range(3)
            ],
        )
        write_rows(
            run,
            "sweep-convolution-alone",
            shard,
            [
                {
                    "stage": "sweep-convolution-alone",
                    "subject": f"{subject:06d}",
                    "roll_out": roll_out,
                    "aware": aware,
                    "psnr": 25.0 + shard * (subject + 1),
                    "ssim": 0.9,
                }
                for subject in range(2)
            ],
        )
