"""Item and user content -> features, by pretrained encoders."""

from gnnrec.encoders.encode import EncodersConfig, default_device, encode_catalog, encode_dataset, encode_query
from gnnrec.encoders.features import Features

__all__ = ["EncodersConfig", "Features", "default_device", "encode_catalog", "encode_dataset", "encode_query"]
