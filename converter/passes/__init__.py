"""Passes: each takes a Model (graph, parameters, report), rewrites it and says how many places it changed."""
from .arrange_nhwc import ArrangeNhwc
from .fold_thresholds import FoldThresholds
from .fuse_outputs import FuseOutputs
from .native_stems import NativeStems
from .pack_weights import PackWeights
from .remove_activations import RemoveActivations
from .share_packs import SharePacks
from .split_layers import SplitLayers

PACKING = [PackWeights, RemoveActivations]  # in this order: activations go where only packed layers read them
FUSION = [SplitLayers, SharePacks, FoldThresholds,  # thresholds want BatchNorms whole
          FuseOutputs, ArrangeNhwc, NativeStems]
