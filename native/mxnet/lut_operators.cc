/* Table layers, for training and inference in float32: adapter from lib_api to qnn_train.h.
 *
 *   _qnn_lut(data, weight, connections[, mode, moving_mean, moving_var]; ...)  ->  y, stats
 *
 * Two things that qnn/lut/fuse.py puts into it: with `kernel` and `stride`, data are images (N, C, H, W), of which it reads
 * windows; with `group`, y is the mean, or with `is_majority` the majority, of so many neighbouring nodes.
 *
 * connections, moving_mean, moving_var and the weight of an is_fixed layer are auxiliary states: saved with the network,
 * never trained. MXNet knows those by "mutated" inputs, of which only the moving statistics are ever written. An operator
 * cannot see whether it trains: `mode` is Dropout of a one, which is 1 in inference and 0 or 2 in training. `stats` is
 * what backward needs.
 */
#include <cmath>

#include "adapter.h"

using mxnet::ext::MXReturnValue;
using mxnet::ext::MX_SUCCESS;
using mxnet::ext::MXTensor;
using mxnet::ext::OpResource;
using namespace qnn;

namespace {

const char *const kLut = "_qnn_lut";
enum { kData, kWeight, kConnections, kMode, kMean, kVar };

/* ---- _qnn_lut ------------------------------------------------------------------------------------------------------------ */

MXReturnValue lut_parse(const Attributes &attributes, int *num_in, int *num_out) {
  check_known(attributes, kLut, {"num_nodes", "in_nodes", "n", "input", "batch_norm", "binarize", "lut_binarize",
              "clip_weight", "gamma", "beta", "momentum", "data_grad", "is_fixed", "group", "is_majority", "kernel", "stride"});
  *num_in = flag(attributes, "batch_norm") ? 6 : 3;
  *num_out = 2;
  return MX_SUCCESS;
}

qnn_lut_layer layer_of(const Attributes &attributes) {
  qnn_lut_layer layer = {};
  layer.num_nodes = static_cast<size_t>(number(attributes, "num_nodes", 0));
  layer.in_nodes = static_cast<size_t>(number(attributes, "in_nodes", 0));
  layer.n = static_cast<size_t>(number(attributes, "n", 0));
  if (layer.n < 2 || layer.n > 6) fail(std::string(kLut) + " needs n of 2..6, got " + text(attributes, "n", "none"));
  const std::string input = text(attributes, "input", "smooth");
  if (input != "real" && input != "smooth" && input != "hard")
    fail(std::string(kLut) + " needs input real, smooth or hard, got '" + input + "'");
  layer.input = input == "real" ? QNN_LUT_REAL : input == "smooth" ? QNN_LUT_SMOOTH : QNN_LUT_HARD;
  layer.lut_binarize = flag(attributes, "lut_binarize");
  layer.clip_weight = flag(attributes, "clip_weight");
  layer.batch_norm = flag(attributes, "batch_norm");
  layer.binarize = flag(attributes, "binarize");
  layer.gamma = static_cast<float>(number(attributes, "gamma", 0.3));
  layer.beta = static_cast<float>(number(attributes, "beta", 0.5));
  layer.group = static_cast<size_t>(number(attributes, "group", 1));
  layer.is_majority = flag(attributes, "is_majority");
  if (layer.group == 0 || layer.num_nodes % layer.group)
    fail(std::string(kLut) + " needs a group that divides num_nodes, got " + text(attributes, "group", ""));
  return layer;
}

/* Fills in what the shape of the data says; fails where that does not fit. */
void set_data(const Attributes &attributes, const Shape &shape, qnn_lut_layer *layer) {
  const bool has_windows = !text(attributes, "kernel", "").empty();
  if (has_windows && shape.size() != 4)
    fail(std::string(kLut) + " with a kernel needs data of shape (N, C, H, W), got " + shown(shape));
  if (!has_windows && (shape.size() < 2 || shape[1] != layer->in_nodes))
    fail(std::string(kLut) + " needs data of shape (frames, " + std::to_string(layer->in_nodes) + ", ...), got " + shown(shape) +
         "; in_units is the number of input nodes");
  layer->outer = shape[0];
  layer->inner = 1;
  if (!has_windows) {
    for (size_t i = 2; i < shape.size(); ++i) layer->inner *= shape[i];
    return;
  }
  const std::vector<size_t> kernel = sizes(attributes, "kernel", 2, 0), stride = sizes(attributes, "stride", 2, 1);
  layer->channels = shape[1], layer->height = shape[2], layer->width = shape[3];
  layer->kernel_h = kernel[0], layer->kernel_w = kernel[1];
  layer->stride_h = stride[0], layer->stride_w = stride[1];
  const size_t height = qnn_lut_out_height(layer), width = qnn_lut_out_width(layer);
  if (!height || !width || layer->channels * kernel[0] * kernel[1] != layer->in_nodes)
    fail(std::string(kLut) + " reads windows of " + std::to_string(kernel[0]) + "x" + std::to_string(kernel[1]) + " pixels, " +
         std::to_string(layer->in_nodes) + " inputs, of data of shape " + shown(shape));
  layer->inner = height * width;
}

MXReturnValue lut_types(const Attributes &attributes, std::vector<int> *in, std::vector<int> *out) {
  check_inputs(lut_parse, attributes, in->size(), kLut);
  for (int &type : *in) set_type(&type, mxnet::ext::kFloat32, kLut, "inputs");
  for (int &type : *out) type = mxnet::ext::kFloat32;
  return MX_SUCCESS;
}

MXReturnValue lut_shape(const Attributes &attributes, Shapes *in, Shapes *out) {
  check_inputs(lut_parse, attributes, in->size(), kLut);
  qnn_lut_layer layer = layer_of(attributes);
  Shape shape = (*in)[kData];
  check_data_shape(shape, kLut);
  set_data(attributes, shape, &layer);
  if (layer.kernel_h) {
    shape[2] = static_cast<unsigned>(qnn_lut_out_height(&layer));
    shape[3] = static_cast<unsigned>(qnn_lut_out_width(&layer));
  }
  const unsigned nodes = static_cast<unsigned>(layer.num_nodes), n = static_cast<unsigned>(layer.n);
  set_shape(&(*in)[kWeight], {nodes, 1u << n}, kLut, "weight");
  set_shape(&(*in)[kConnections], {nodes, n}, kLut, "connections");
  if (layer.batch_norm) {
    set_shape(&(*in)[kMode], {1}, kLut, "mode");
    set_shape(&(*in)[kMean], {nodes}, kLut, "moving_mean");
    set_shape(&(*in)[kVar], {nodes}, kLut, "moving_var");
  }
  shape[1] = static_cast<unsigned>(layer.num_nodes / layer.group);
  (*out)[0] = shape;
  (*out)[1] = {2, nodes};
  return MX_SUCCESS;
}

MXReturnValue lut_mutated(const Attributes &attributes, std::vector<int> *indices) {
  indices->assign(1, kConnections);
  if (flag(attributes, "is_fixed")) indices->push_back(kWeight);
  if (flag(attributes, "batch_norm")) indices->insert(indices->end(), {kMean, kVar});
  return MX_SUCCESS;
}

void check_connections(const float *connections, const qnn_lut_layer &layer) {
  for (size_t i = 0; i < layer.num_nodes * layer.n; ++i) {
    const float at = connections[i];
    if (!(at >= 0 && at < static_cast<float>(layer.in_nodes) && at == std::floor(at)))
      fail(std::string(kLut) + " reads inputs 0.." + std::to_string(layer.in_nodes - 1) + ", but input " +
           std::to_string(i % layer.n) + " of node " + std::to_string(i / layer.n) + " is wired to " + std::to_string(at));
  }
}

/* in: all inputs of forward. */
qnn_lut_layer layer_of(const Attributes &attributes, const MXTensor &data, const float *connections) {
  qnn_lut_layer layer = layer_of(attributes);
  set_data(attributes, Shape(data.shape.begin(), data.shape.end()), &layer);
  check_connections(connections, layer);
  return layer;
}

MXReturnValue lut_forward(const Attributes &attributes, Tensors *in, Tensors *out, const OpResource &) {
  const float *connections = (*in)[kConnections].data<float>();
  const qnn_lut_layer layer = layer_of(attributes, (*in)[kData], connections);
  const size_t nodes = layer.num_nodes;
  float *stats = (*out)[1].data<float>();
  float *moving[2] = {nullptr, nullptr};
  bool is_training = false;
  std::fill(stats, stats + 2 * nodes, 0.0f);
  if (layer.batch_norm) {
    is_training = *(*in)[kMode].data<float>() != 1.0f;
    for (int i = 0; i < 2; ++i) {
      moving[i] = (*in)[kMean + i].data<float>();
      if (!is_training) std::copy(moving[i], moving[i] + nodes, stats + i * nodes);
    }
  }
  check(qnn_lut_train_forward((*in)[kData].data<float>(), connections, (*in)[kWeight].data<float>(), &layer, is_training, stats,
                              (*out)[0].data<float>()), kLut);
  const float momentum = static_cast<float>(number(attributes, "momentum", 0.9));
  for (int i = 0; i < 2 && is_training; ++i)
    for (size_t node = 0; node < nodes; ++node)
      moving[i][node] = moving[i][node] * momentum + stats[i * nodes + node] * (1.0f - momentum);
  return MX_SUCCESS;
}

/* in: dy, dstats, inputs, y, stats; out: gradients of all inputs. */
MXReturnValue lut_backward(const Attributes &attributes, Tensors *in, Tensors *out, const OpResource &) {
  MXTensor *inputs = in->data() + 2;
  const float *connections = inputs[kConnections].data<float>();
  const qnn_lut_layer layer = layer_of(attributes, inputs[kData], connections);
  const bool is_training = layer.batch_norm && *inputs[kMode].data<float>() != 1.0f;
  const bool has_data_grad = text(attributes, "data_grad", "True") == "True";
  float *dx = (*out)[kData].data<float>();
  check(qnn_lut_train_backward(inputs[kData].data<float>(), connections, inputs[kWeight].data<float>(), &layer, is_training,
                               in->back().data<float>(), (*in)[0].data<float>(), has_data_grad ? dx : nullptr,
                               (*out)[kWeight].data<float>()), kLut);
  if (!has_data_grad) std::fill(dx, dx + (*out)[kData].size(), 0.0f);
  for (size_t i = kConnections; i < out->size(); ++i) {
    float *grad = (*out)[i].data<float>();
    std::fill(grad, grad + (*out)[i].size(), 0.0f);
  }
  return MX_SUCCESS;
}

}  // namespace

namespace mxnet {
namespace ext {

REGISTER_OP(_qnn_lut).setForward(lut_forward, "cpu").setBackward(lut_backward, "cpu").setParseAttrs(lut_parse)
    .setInferType(lut_types).setInferShape(lut_shape).setInferSType(dense_storage).setMutateInputs(lut_mutated);

}  // namespace ext
}  // namespace mxnet
