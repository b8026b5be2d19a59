"""Simulated places in the files of the real services, so that the real loaders read them."""

from arsetlib import oldnames
from arsetlib.simulate.delta import delta
from arsetlib.simulate.embeddings import embeddings
from arsetlib.simulate.fields import fields
from arsetlib.simulate.groves import groves
from arsetlib.simulate.outlines import outlines

__all__ = ["delta", "embeddings", "fields", "groves", "outlines"]

__getattr__ = oldnames.names_of("simulate")
