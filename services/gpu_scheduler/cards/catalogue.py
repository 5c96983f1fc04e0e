"""The table of cards: what vendors publish of each model. What is not published, or not known, is None.

Throughput is dense (no sparsity), of matrices: TFLOPS, and TOPS for int8. Bandwidth is of the card's memory, in GB/s.
Prices are list prices of one card on demand in US dollars an hour, of whom and when `price_source` says; where a cloud
sells the card with its machine only, the price is of both. They are no more than a default: a setting or a flavor
overrides them (`nodes.price_of`).
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

GIB = 1024**3
GCP = "Google Cloud, GPU pricing, us-central1, on demand, as published in 2024"
LAMBDA = "Lambda, on-demand cloud, as published in 2025"
AWS_L4 = "AWS, g6.xlarge with its machine, us-east-1, on demand, as published in 2024"
AWS_L40S = "AWS, g6e.xlarge with its machine, us-east-1, on demand, as published in 2024"
AMPERE = "NVIDIA A100 Tensor Core GPU datasheet"
HOPPER = "NVIDIA H100 Tensor Core GPU datasheet (figures there are with sparsity: halved here)"
CLOUD_MATRIX = "Huawei, Serving Large Language Models on Huawei CloudMatrix384 (arXiv:2506.12708)"
UNPUBLISHED = "No datasheet of the vendor is known to us"


@dataclass(frozen=True)
class CardModel:
    """A row. `names` matches what the driver calls it; the first row that matches is it."""

    slug: str
    display_name: str
    maker: str
    names: str
    memory_gib: int | None
    bf16: float | None
    fp16: float | None
    int8: float | None
    bandwidth_gb: float | None
    source: str
    hour_usd: float | None = None
    price_source: str = ""

    @property
    def name(self) -> str:
        return f"cardModels/{self.slug}"

    @property
    def memory_bytes(self) -> int | None:
        return None if self.memory_gib is None else self.memory_gib * GIB

    @property
    def hour_microusd(self) -> int | None:
        return None if self.hour_usd is None else round(self.hour_usd * 1_000_000)


M = CardModel
# fmt: off
MODELS: Final[tuple[CardModel, ...]] = (
    M("nvidia-a100-40gb", "NVIDIA A100 40GB", "nvidia", r"A100.*40GB", 40, 312, 312, 624, 1555, AMPERE, 2.933908, GCP),
    M("nvidia-a100-80gb-pcie", "NVIDIA A100 80GB PCIe", "nvidia", r"A100.*80GB.*PCIe|A100.*PCIe.*80GB",
      80, 312, 312, 624, 1935, AMPERE, 1.79, LAMBDA),
    M("nvidia-a100-80gb-sxm", "NVIDIA A100 80GB SXM", "nvidia", r"A100.*80GB", 80, 312, 312, 624, 2039, AMPERE,
      1.79, LAMBDA),
    M("nvidia-h100-pcie", "NVIDIA H100 PCIe", "nvidia", r"H100.*PCIe", 80, 756, 756, 1513, 2000,
      "NVIDIA H100 Tensor Core GPU datasheet of 2023 (halved likewise)"),
    M("nvidia-h100-nvl", "NVIDIA H100 NVL", "nvidia", r"H100.*NVL", 94, 835.5, 835.5, 1670.5, 3900, HOPPER),
    M("nvidia-h100-sxm", "NVIDIA H100 SXM", "nvidia", r"H100", 80, 989.5, 989.5, 1979, 3350, HOPPER, 2.99, LAMBDA),
    M("nvidia-h200-nvl", "NVIDIA H200 NVL", "nvidia", r"H200.*NVL", 141, 835.5, 835.5, 1670.5, 4800,
      "NVIDIA H200 Tensor Core GPU datasheet (halved likewise)"),
    M("nvidia-h200-sxm", "NVIDIA H200 SXM", "nvidia", r"H200", 141, 989.5, 989.5, 1979, 4800,
      "NVIDIA H200 Tensor Core GPU datasheet (halved likewise)"),
    M("nvidia-b200", "NVIDIA B200", "nvidia", r"\bB200", 180, 2250, 2250, 4500, 8000,
      "NVIDIA Blackwell datasheet, HGX B200, one of eight (halved likewise)"),
    M("nvidia-l40s", "NVIDIA L40S", "nvidia", r"L40S", 48, 362, 362, 733, 864, "NVIDIA L40S datasheet", 1.861, AWS_L40S),
    M("nvidia-l4", "NVIDIA L4", "nvidia", r"\bL4\b", 24, 121, 121, 242, 300,
      "NVIDIA L4 Tensor Core GPU datasheet (halved likewise)", 0.8048, AWS_L4),
    M("nvidia-a10", "NVIDIA A10", "nvidia", r"\bA10\b", 24, 125, 125, 250, 600, "NVIDIA A10 Tensor Core GPU datasheet",
      0.75, LAMBDA),
    M("nvidia-t4", "NVIDIA T4", "nvidia", r"\bT4\b", 16, None, 65, 130, 320, "NVIDIA T4 Tensor Core GPU product brief",
      0.35, GCP),
    M("nvidia-v100-pcie", "NVIDIA V100 PCIe", "nvidia", r"V100.*PCIE", 16, None, 112, None, 900,
      "NVIDIA V100 Tensor Core GPU datasheet", 2.48, GCP),
    M("nvidia-v100-sxm2-32gb", "NVIDIA V100 SXM2 32GB", "nvidia", r"V100.*32GB", 32, None, 125, None, 900,
      "NVIDIA V100 Tensor Core GPU datasheet"),
    M("nvidia-v100-sxm2", "NVIDIA V100 SXM2", "nvidia", r"V100", 16, None, 125, None, 900,
      "NVIDIA V100 Tensor Core GPU datasheet", 2.48, GCP),
    M("nvidia-p100-pcie", "NVIDIA P100 PCIe", "nvidia", r"P100.*PCIE", 16, None, 18.7, None, 732,
      "NVIDIA Tesla P100 datasheet", 1.46, GCP),
    M("nvidia-p100-sxm2", "NVIDIA P100 SXM2", "nvidia", r"P100", 16, None, 21.2, None, 732,
      "NVIDIA Tesla P100 datasheet", 1.46, GCP),
    M("nvidia-k80", "NVIDIA K80, one of two", "nvidia", r"K80", 12, None, None, None, 240,
      "NVIDIA Tesla K80 datasheet (of the board: halved here)", 0.45, GCP),
    M("nvidia-rtx-4090", "NVIDIA GeForce RTX 4090", "nvidia", r"RTX 4090$", 24, 165.2, 165.2, 660.6, 1008,
      "NVIDIA Ada GPU Architecture whitepaper, appendix A (accumulation in fp32)"),
    M("nvidia-rtx-3090", "NVIDIA GeForce RTX 3090", "nvidia", r"RTX 3090$", 24, 71, 71, 284, 936,
      "NVIDIA Ampere GA102 GPU Architecture whitepaper (accumulation in fp32)"),
    M("ascend-910c", "Ascend 910C, one of two dies", "ascend", r"910C|910_93", 64, 376, 376, 752, 1600, CLOUD_MATRIX),
    M("ascend-910b", "Ascend 910B", "ascend", r"910B", 64, None, 313, None, None,
      "Huawei Atlas 800T A2 server product page (910B3; other grades differ)"),
    M("ascend-310p", "Ascend 310P", "ascend", r"310P", 24, None, 70, 140, 204.8,
      "Huawei Atlas 300I Pro inference card product page"),
    M("hygon-k100-ai", "Hygon DCU K100 AI", "hygon", r"K100.?AI", None, None, None, None, None, UNPUBLISHED),
    M("hygon-k100", "Hygon DCU K100", "hygon", r"\bK100\b", None, None, None, None, None, UNPUBLISHED),
    M("hygon-z100", "Hygon DCU Z100", "hygon", r"Z100", 32, None, None, None, 1024,
      "Hygon Information Technology, prospectus of 2022 (DCU 8100)"),
    M("cambricon-mlu370-x8", "Cambricon MLU370-X8", "cambricon", r"MLU370-X8", 48, 96, 96, 256, 614.4,
      "Cambricon MLU370-X8 product page"),
    M("cambricon-mlu370-x4", "Cambricon MLU370-X4", "cambricon", r"MLU370", 24, 96, 96, 256, 307.2,
      "Cambricon MLU370-X4 product page"),
    M("cambricon-mlu590", "Cambricon MLU590", "cambricon", r"MLU590", None, None, None, None, None, UNPUBLISHED),
    M("amd-mi210", "AMD Instinct MI210", "amd", r"MI210", 64, 181, 181, 181, 1638.4, "AMD Instinct MI210 product page"),
    M("amd-mi250x", "AMD Instinct MI250X", "amd", r"MI250X", 128, 383, 383, 383, 3276.8,
      "AMD Instinct MI250X product page"),
    M("amd-mi300x", "AMD Instinct MI300X", "amd", r"MI300X", 192, 1307.4, 1307.4, 2614.9, 5325,
      "AMD Instinct MI300X product page"),
)
# fmt: on

# Of makers that Gyre knows by this table alone: the variable and the library that a plug-in of theirs would name.
UNDISCOVERED: Final = {
    "hygon": ("HIP_VISIBLE_DEVICES", "RCCL"),
    "cambricon": ("MLU_VISIBLE_DEVICES", "CNCL"),
    "amd": ("ROCR_VISIBLE_DEVICES", "RCCL"),
}


def find(driver_name: str) -> CardModel | None:
    """The row of a card by what its driver calls it ("NVIDIA H100 80GB HBM3"); None for one that is not in the table."""
    return next((model for model in MODELS if re.search(model.names, driver_name, re.IGNORECASE)), None)
