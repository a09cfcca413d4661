from assay.inference.model import Model as Model
from assay.inference.model import open_model as load_model

__all__ = ["Model", "__version__", "load_model"]

__version__: str
