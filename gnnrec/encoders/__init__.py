"""Item and user content -> features, by pretrained encoders."""

from gnnrec.encoders.encode import EncodersConfig, default_device, encode_catalog, encode_dataset, encode_query
from gnnrec.encoders.features import Features
from gnnrec.encoders.rejected import check_media, unusable_content

__all__ = [
    "EncodersConfig",
    "Features",
    "check_media",
    "default_device",
    "encode_catalog",
    "encode_dataset",
    "encode_query",
    "unusable_content",
]
