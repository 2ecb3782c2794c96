"""Import of torchvision beside a CPU build of torch."""

import importlib

import torch

_MISSING = "operator torchvision::nms does not exist"
_library: list[torch.library.Library] = []


def prepare() -> None:
    """Make `import torchvision` work; call it before open_clip or lpips is imported, in every process.

    The torchvision wheel of the package index is compiled against CUDA. Beside a CPU build of torch its compiled part
    does not load, and registering fake kernels for two operators that are then unknown fails the import. Only on that
    error, and only where torch has no CUDA, the two operators are declared (not implemented) and the import is tried
    again.
    """
    try:
        importlib.import_module("torchvision")
    except RuntimeError as error:
        if _MISSING not in str(error) or torch.version.cuda is not None:
            raise
        library = torch.library.Library("torchvision", "DEF")
        library.define("nms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
        library.define("qnms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
        _library.append(library)
        importlib.import_module("torchvision")
